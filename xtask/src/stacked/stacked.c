/*
 * Opens files from functions with known names, so that a test can ask for the stacks by name. In C, as a C compiler can be
 * told to keep frame pointers and Rust's standard library then has no part in the stack.
 *
 *     stacked READS WRITES [jit]
 *
 * Opens a file that is there READS times by read_config(), and one that is not WRITES times by write_log(). With `jit` the
 * calls of write_log() come from code that was made at run time, and told in /tmp/perf-PID.map. Then it stays for a moment,
 * as most programs do; what is gone at once is another test's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Not the C library's open(): it is built without frame pointers, and whatever it keeps there instead ends the stack. */
__attribute__((noinline)) long open_by_syscall(const char *path)
{
	long ret;
#ifdef __x86_64__
	register long mode __asm__("r10") = 0;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(257L), "D"(-100L), "S"(path), "d"(0L), "r"(mode) : "rcx", "r11", "memory");
#else
	register long call __asm__("x8") = 56;
	register long dirfd __asm__("x0") = -100;
	register const char *name __asm__("x1") = path;
	register long flags __asm__("x2") = 0;
	register long mode __asm__("x3") = 0;
	__asm__ volatile("svc #0" : "+r"(dirfd) : "r"(call), "r"(name), "r"(flags), "r"(mode) : "memory");
	ret = dirfd;
#endif
	if (ret >= 0)
		close((int)ret);
	return ret;
}

__attribute__((noinline)) long read_config(const char *path)
{
	return open_by_syscall(path) + 1;
}

/* In debug info only: the compiler puts it into write_log(). */
static inline __attribute__((always_inline)) long rotate(const char *path)
{
	return open_by_syscall(path) + 2;
}

__attribute__((noinline)) long write_log(const char *path)
{
	return rotate(path) + 3;
}

typedef long (*caller)(const char *path, long (*callee)(const char *path));

/* A function made at run time that calls another, with a frame of its own. */
static caller jit(void)
{
	static const unsigned char code[] = {
#ifdef __x86_64__
		0x55,                /* push %rbp */
		0x48, 0x89, 0xe5,    /* mov %rsp, %rbp */
		0xff, 0xd6,          /* call *%rsi */
		0x5d,                /* pop %rbp */
		0xc3,                /* ret */
#else
		0xfd, 0x7b, 0xbf, 0xa9, /* stp x29, x30, [sp, #-16]! */
		0xfd, 0x03, 0x00, 0x91, /* mov x29, sp */
		0x20, 0x00, 0x3f, 0xd6, /* blr x1 */
		0xfd, 0x7b, 0xc1, 0xa8, /* ldp x29, x30, [sp], #16 */
		0xc0, 0x03, 0x5f, 0xd6, /* ret */
#endif
	};
	char name[64];
	FILE *map;
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(2);
	memcpy(at, code, sizeof code);
	if (mprotect(at, 4096, PROT_READ | PROT_EXEC))
		exit(2);
	__builtin___clear_cache(at, (char *)at + sizeof code);
	snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
	map = fopen(name, "w");
	if (!map)
		exit(2);
	fprintf(map, "%lx %lx jitted_handler\n", (unsigned long)at, (unsigned long)sizeof code);
	fclose(map);
	return (caller)at;
}

int main(int argc, char **argv)
{
	int reads = argc > 1 ? atoi(argv[1]) : 1, writes = argc > 2 ? atoi(argv[2]) : 1;
	caller call = argc > 3 && !strcmp(argv[3], "jit") ? jit() : NULL;
	/* For the names to be looked up; those of code made at run time are gone with it. */
	struct timespec moment = { call ? 3 : 0, 500 * 1000 * 1000 };
	volatile long sum = 0;
	char name[64];

	for (int i = 0; i < reads; i++)
		sum += read_config("/proc/self/stat");
	for (int i = 0; i < writes; i++)
		sum += call ? call("/no/such/log", write_log) : write_log("/no/such/log");
	nanosleep(&moment, NULL);
	snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
	if (call)
		unlink(name);
	return sum == 1;
}
