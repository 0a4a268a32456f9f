//! What a contributor does beyond `cargo build`, one file per command. Nothing of it goes into the program.

mod apt;
mod assets;
mod bench;
mod captures;
mod cmd;
mod compare;
mod cross;
mod demo;
mod dist;
mod figures;
mod guest;
mod initramfs;
mod install;
mod kernels;
mod machine;
mod memcheck;
mod probe;
mod remap;
mod run;
mod test;
mod trust;
mod truth;
mod verifier;
mod vm;
mod workloads;

use std::process::ExitCode;

use clap::Parser;

/// What a contributor does beyond `cargo build`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Write the manual pages, completions and snapshots of --help anew, from the command line
    Assets,
    /// Measure what opentop costs, beside what other tools cost
    Bench(bench::Args),
    /// Compare what opentop sees with what other tools see, in a virtual machine
    Compare(compare::Args),
    /// Make the demo cast and its picture under assets/ from the sample recording there
    Demo(demo::Args),
    /// Run the tests that have figures, and write these into the table of SECURITY.md
    Figures,
    /// Run the unsafe code under valgrind: the library's tests, a capture and its replay
    Memcheck,
    /// Build the kernel side and put its bytes under assets/, where the program embeds them
    Probe(probe::Args),
    /// Make the Debian package, the archive, the bill of materials and their checksums
    Dist(dist::Args),
    /// Build opentop and start it, with sudo where needed
    Run(run::Args),
    /// Run every test: the workspace's, a capture on this kernel, and the matrix of kernels in virtual machines
    Test(test::Args),
    /// Hold what the probe costs the verifier of each kernel against a table, or write that anew
    Verifier(verifier::Args),
    /// Boot a kernel of the matrix with the current build, for a look or for a command
    Vm(vm::Args),
}

fn main() -> ExitCode {
    if let Some(error) = remap::rustc_wrapper() {
        eprintln!("xtask: cannot start rustc: {error}");
        return ExitCode::FAILURE;
    }
    let done = match Task::parse() {
        Task::Assets => assets::main().map(|()| ExitCode::SUCCESS),
        Task::Bench(args) => bench::main(&args),
        Task::Compare(args) => compare::main(&args),
        Task::Demo(args) => demo::main(&args).map(|()| ExitCode::SUCCESS),
        Task::Dist(args) => dist::main(&args).map(|()| ExitCode::SUCCESS),
        Task::Figures => figures::main(),
        Task::Memcheck => memcheck::main(),
        Task::Probe(args) => probe::main(&args).map(|()| ExitCode::SUCCESS),
        Task::Run(args) => run::main(&args),
        Task::Test(args) => test::main(&args),
        Task::Verifier(args) => verifier::main(&args),
        Task::Vm(args) => vm::main(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
