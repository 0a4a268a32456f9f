//! Where each kind of hook finds the arguments. Nothing else differs between them.

use aya_ebpf::{
    EbpfContext as _,
    macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint, tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext, TracePointContext},
};
use probe_common::route;

use crate::{
    config::{self, setting},
    leave,
    open::{self, Request, kind, role},
    process::{self, read},
};

/// do_sys_openat2(int dfd, const char __user *filename, struct open_how *how)
#[inline(always)]
fn openat2(dfd: i32, name: u64, how: u64) -> Request {
    let mut request = request(kind::SYSCALL, route::SYSCALL, dfd, name);
    open::with_how(&mut request, how);
    request
}

/// io_openat2(struct io_kiocb *req, ...)
#[inline(always)]
fn io_openat2(req: u64) -> Request {
    let mut request = request(kind::IO_URING, route::IO_URING, -100, 0);
    request.request = req;
    if config::btf() {
        let open = req + u64::from(setting!(offsets.req_open));
        request.dirfd = read(open + u64::from(setting!(offsets.io_open_dfd))).unwrap_or(-100);
        open::with_how(&mut request, open + u64::from(setting!(offsets.io_open_how)));
    }
    request
}

/// do_handle_open(int mountdirfd, struct file_handle __user *ufh, int open_flag)
#[inline(always)]
fn handle_open(mount: i32, flags: u32) -> Request {
    let mut request = request(kind::HANDLE, route::HANDLE, mount, 0);
    request.flags = flags;
    request
}

#[inline(always)]
fn request(kind: u32, route: u8, dirfd: i32, user_name: u64) -> Request {
    Request { kind, route, dirfd, user_name, flags: 0, mode: 0, resolve: 0, request: 0 }
}

// ---- kprobe, kretprobe

#[kprobe]
pub fn k_openat2(ctx: ProbeContext) -> u32 {
    if let (Some(dfd), Some(name), Some(how)) = (ctx.arg::<i32>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2)) {
        open::enter(&ctx, &openat2(dfd, name, how));
    }
    0
}

#[kprobe]
pub fn k_filp_open(ctx: ProbeContext) -> u32 {
    if let (Some(filename), Some(flags)) = (ctx.arg::<u64>(1), ctx.arg::<u64>(2)) {
        open::named(filename, flags);
    }
    0
}

#[kretprobe]
pub fn k_openat2_ret(ctx: RetProbeContext) -> u32 {
    leave::leave(&ctx, kind::SYSCALL, ctx.ret::<i64>());
    0
}

#[kprobe]
pub fn k_io_openat2(ctx: ProbeContext) -> u32 {
    if let Some(req) = ctx.arg::<u64>(0) {
        open::enter(&ctx, &io_openat2(req));
    }
    0
}

#[kretprobe]
pub fn k_io_openat2_ret(ctx: RetProbeContext) -> u32 {
    leave::leave(&ctx, kind::IO_URING, ctx.ret::<i64>());
    0
}

#[kprobe]
pub fn k_execat(ctx: ProbeContext) -> u32 {
    if let Some(fd) = ctx.arg::<i32>(0) {
        open::enter(&ctx, &request(kind::EXEC, route::EXEC, fd, 0));
    }
    0
}

#[kretprobe]
pub fn k_execat_ret(ctx: RetProbeContext) -> u32 {
    leave::leave(&ctx, kind::EXEC, ctx.ret::<i64>());
    0
}

#[kprobe]
pub fn k_handle(ctx: ProbeContext) -> u32 {
    if let (Some(mount), Some(flags)) = (ctx.arg::<i32>(0), ctx.arg::<u32>(2)) {
        open::enter(&ctx, &handle_open(mount, flags));
    }
    0
}

#[kretprobe]
pub fn k_handle_ret(ctx: RetProbeContext) -> u32 {
    leave::leave(&ctx, kind::HANDLE, ctx.ret::<i64>());
    0
}

// ---- fentry, fexit. The loader names the function; all of these have three arguments, io_openat2 two.

#[fentry]
pub fn f_openat2(ctx: FEntryContext) -> u32 {
    open::enter_as(role::FIRST, &ctx, &openat2(ctx.arg(0), ctx.arg(1), ctx.arg(2)));
    0
}

#[fentry]
pub fn f_filp_open(ctx: FEntryContext) -> u32 {
    open::named(ctx.arg(1), ctx.arg(2));
    0
}

#[fexit]
pub fn f_openat2_ret(ctx: FExitContext) -> u32 {
    leave::leave_as(role::FIRST, &ctx, kind::SYSCALL, ctx.arg::<i64>(3));
    0
}

#[fentry]
pub fn f_io_openat2(ctx: FEntryContext) -> u32 {
    open::enter(&ctx, &io_openat2(ctx.arg(0)));
    0
}

#[fexit]
pub fn f_io_openat2_ret(ctx: FExitContext) -> u32 {
    leave::leave(&ctx, kind::IO_URING, ctx.arg::<i64>(2));
    0
}

#[fentry]
pub fn f_execat(ctx: FEntryContext) -> u32 {
    open::enter(&ctx, &request(kind::EXEC, route::EXEC, ctx.arg(0), 0));
    0
}

#[fexit]
pub fn f_execat_ret(ctx: FExitContext) -> u32 {
    // A `struct file *` or an error: the verifier allows no arithmetic on what it takes for a pointer, so it is read as the
    // number it is.
    let ret = read::<i64>(ctx.as_ptr() as u64 + 3 * 8).unwrap_or(0);
    leave::leave(&ctx, kind::EXEC, ret);
    0
}

#[fentry]
pub fn f_handle(ctx: FEntryContext) -> u32 {
    open::enter(&ctx, &handle_open(ctx.arg(0), ctx.arg(2)));
    0
}

#[fexit]
pub fn f_handle_ret(ctx: FExitContext) -> u32 {
    leave::leave(&ctx, kind::HANDLE, ctx.arg::<i64>(3));
    0
}

// The kernel skips an fentry or fexit program that is already running on this CPU (`prog->active`), which on a preemptible
// kernel happens when the task that runs it is preempted. A twin, with a counter of its own, stands in.

#[fentry]
pub fn f_openat2_twin(ctx: FEntryContext) -> u32 {
    open::enter_as(role::TWIN, &ctx, &openat2(ctx.arg(0), ctx.arg(1), ctx.arg(2)));
    0
}

#[fentry]
pub fn f_filp_open_twin(ctx: FEntryContext) -> u32 {
    open::named(ctx.arg(1), ctx.arg(2));
    0
}

#[fexit]
pub fn f_openat2_ret_twin(ctx: FExitContext) -> u32 {
    leave::leave_as(role::TWIN, &ctx, kind::SYSCALL, ctx.arg::<i64>(3));
    0
}

// ---- system call tracepoints: user memory only, and blind to what is no native system call.

/// The n-th argument of a `syscalls:sys_enter_*` tracepoint: behind 8 bytes of common fields and 8 of the number.
#[inline(always)]
fn arg(ctx: &TracePointContext, n: usize) -> u64 {
    // SAFETY: within the context, which the verifier checks. aya's read_at would call a helper for it.
    unsafe { ctx.as_ptr().cast::<u64>().add(2 + n).read_volatile() }
}

/// The result of a `syscalls:sys_exit_*` tracepoint.
#[inline(always)]
fn ret(ctx: &TracePointContext) -> i64 {
    arg(ctx, 0) as i64
}

#[inline(always)]
fn open(ctx: &TracePointContext) -> Request {
    let mut request = request(kind::SYSCALL, route::OPEN, -100, arg(ctx, 0));
    (request.flags, request.mode) = (arg(ctx, 1) as u32, arg(ctx, 2) as u16);
    request
}

#[inline(always)]
fn openat(ctx: &TracePointContext) -> Request {
    let mut request = request(kind::SYSCALL, route::OPENAT, arg(ctx, 0) as i32, arg(ctx, 1));
    (request.flags, request.mode) = (arg(ctx, 2) as u32, arg(ctx, 3) as u16);
    request
}

#[tracepoint]
pub fn t_open(ctx: TracePointContext) -> u32 {
    open::enter_as(role::FIRST, &ctx, &open(&ctx));
    0
}

#[tracepoint]
pub fn t_creat(ctx: TracePointContext) -> u32 {
    let mut request = request(kind::SYSCALL, route::CREAT, -100, arg(&ctx, 0));
    // What sys_creat() makes of it: O_CREAT | O_WRONLY | O_TRUNC.
    (request.flags, request.mode) = (0o1101, arg(&ctx, 1) as u16);
    open::enter(&ctx, &request);
    0
}

#[tracepoint]
pub fn t_openat(ctx: TracePointContext) -> u32 {
    open::enter_as(role::FIRST, &ctx, &openat(&ctx));
    0
}

#[tracepoint]
pub fn t_openat2(ctx: TracePointContext) -> u32 {
    let mut request = request(kind::SYSCALL, route::OPENAT2, arg(&ctx, 0) as i32, arg(&ctx, 1));
    open::with_user_how(&mut request, arg(&ctx, 2));
    open::enter(&ctx, &request);
    0
}

#[tracepoint]
pub fn t_handle(ctx: TracePointContext) -> u32 {
    open::enter(&ctx, &handle_open(arg(&ctx, 0) as i32, arg(&ctx, 2) as u32));
    0
}

#[tracepoint]
pub fn t_ret(ctx: TracePointContext) -> u32 {
    leave::leave_as(role::FIRST, &ctx, kind::SYSCALL, ret(&ctx));
    0
}

// Where a task can be preempted within these, too (`trace_call_bpf_faultable`, in 7.2 and 7.3), those that most opens pass
// have twins as well. The entries of creat and openat2 do the work alone, whichever sees the return.

#[tracepoint]
pub fn t_open_twin(ctx: TracePointContext) -> u32 {
    open::enter_as(role::TWIN, &ctx, &open(&ctx));
    0
}

#[tracepoint]
pub fn t_openat_twin(ctx: TracePointContext) -> u32 {
    open::enter_as(role::TWIN, &ctx, &openat(&ctx));
    0
}

#[tracepoint]
pub fn t_ret_twin(ctx: TracePointContext) -> u32 {
    leave::leave_as(role::TWIN, &ctx, kind::SYSCALL, ret(&ctx));
    0
}

#[tracepoint]
pub fn t_handle_ret(ctx: TracePointContext) -> u32 {
    leave::leave(&ctx, kind::HANDLE, ret(&ctx));
    0
}

// ---- io_uring before 5.19

/// io_uring:io_uring_complete(void *ctx, u64 user_data, int res, ...): the only place that has the result of an open whose
/// completion is posted before io_openat2() returns.
#[raw_tracepoint]
pub fn p_io_complete(ctx: RawTracePointContext) -> u32 {
    open::completed(ctx.arg::<u64>(2) as i32);
    0
}

// ---- processes coming and going

#[raw_tracepoint]
pub fn p_fork(ctx: RawTracePointContext) -> u32 {
    process::forked(&ctx);
    0
}

#[raw_tracepoint]
pub fn p_exit(ctx: RawTracePointContext) -> u32 {
    process::exited(&ctx);
    0
}

#[raw_tracepoint]
pub fn p_exec(ctx: RawTracePointContext) -> u32 {
    process::execed(&ctx);
    0
}
