//! The kernel side of opentop: sees every open enter and return, and puts one record into a ring buffer.
//!
//! `hooks` is all that differs between kprobe, fentry and tracepoint: where the arguments are found. Each hook calls
//! [`open::enter`], [`open::named`] or [`leave::leave`]; there is one path from there to the ring.
#![no_std]
#![no_main]
// For the one atomic addition in `count`; the toolchain is a nightly one anyway, for build-std.
#![feature(asm_experimental_arch)]

mod arch;
mod config;
mod count;
mod emit;
mod filter;
mod hooks;
mod leave;
mod maps;
mod open;
mod path;
mod process;
mod stack;

/// The helpers for kprobes on kernel functions are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing here panics: the verifier would refuse the loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
