/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities and the filter of system calls. See rights.h. */
#include "mover/core/rights.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP(name) (UINT64_C(1) << (name))

const uint64_t rights_kept = CAP(CAP_DAC_OVERRIDE)       /* images and sockets of QEMU's user */
			     | CAP(CAP_CHOWN)            /* those sockets are given to it */
			     | CAP(CAP_SYS_PTRACE)       /* the memory of QEMU: proof, sample */
			     | CAP(CAP_NET_BIND_SERVICE) /* --ports may be low */
			     | CAP(CAP_NET_ADMIN) | CAP(CAP_NET_RAW) /* where the guest is now */
			     | CAP(CAP_SETUID) | CAP(CAP_SETGID) /* helpers become QEMU's user */;

/* ---- capabilities ---- */

static void keep_capabilities(uint64_t kept)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	for (int i = 0; i < 64; i++)
		if (!(kept & CAP(i)))
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0); /* not those the kernel does not know */
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t) (kept >> (32 * i));
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) != 0)
		g_debug("capabilities: %s", g_strerror(errno));
}

/* No kind of memory is written into a core, neither of this process nor of those that it starts: where cores go to
 * a program (core_pattern) the limit of their size does not count, and a program that is started is dumpable again. */
static void keep_memory_out_of_cores(void)
{
	FD_AUTO int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		g_debug("coredump_filter: %s", g_strerror(errno));
}

static void drop_capabilities(uint64_t kept)
{
	const struct rlimit none = { 0, 0 };
	keep_memory_out_of_cores();
	if (geteuid() == 0)
		keep_capabilities(kept);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
}

void rights_drop(void)
{
	drop_capabilities(rights_kept);
}

void rights_drop_all(void)
{
	drop_capabilities(0);
}

bool rights_become(int64_t user)
{
	const struct passwd *entry = user > 0 ? getpwuid((uid_t) user) : NULL;
	if (user >= 0 && !entry)
		errno = ENOENT; /* getpwuid says nothing of it */
	if (user >= 0 && (!entry || initgroups(entry->pw_name, entry->pw_gid) != 0 ||
			  setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) != 0 ||
			  setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) != 0))
		return false;
	drop_capabilities(CAP(CAP_DAC_OVERRIDE));
	return true;
}

/* ---- calls ---- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* The busy ones first: each call walks down the list. Architectures differ in what they have. */
static const int calls[] = {
	SYS_futex,
	SYS_read,
	SYS_write,
	SYS_ppoll,
	SYS_sendto,
	SYS_recvfrom,
	SYS_clock_gettime,
	SYS_pread64,
	SYS_setsockopt,
	SYS_getsockopt,
	SYS_sendmsg,
	SYS_recvmsg,
	SYS_ioctl,
	/* memory */
	SYS_brk,
	SYS_madvise,
	SYS_mincore,
	SYS_mmap,
	SYS_mprotect,
	SYS_mremap,
	SYS_munmap,
	/* files: state, images, indexes, what /proc says */
	SYS_close,
	SYS_close_range,
	SYS_copy_file_range,
	SYS_dup,
	SYS_dup3,
	SYS_faccessat,
	SYS_fadvise64,
	SYS_fallocate,
	SYS_fchmod,
	SYS_fchmodat,
	SYS_fchown,
	SYS_fchownat,
	SYS_fcntl,
	SYS_fdatasync,
	SYS_flock,
	SYS_fstat,
	SYS_fstatfs,
	SYS_fsync,
	SYS_ftruncate,
	SYS_getcwd,
	SYS_getdents64,
	SYS_lseek,
	SYS_mkdirat,
	SYS_newfstatat,
	SYS_openat,
	SYS_pipe2,
	SYS_preadv,
	SYS_pwrite64,
	SYS_pwritev,
	SYS_readlinkat,
	SYS_readv,
	SYS_renameat,
	SYS_renameat2,
	SYS_statfs,
	SYS_statx,
	SYS_sync_file_range,
	SYS_umask,
	SYS_unlinkat,
	SYS_utimensat,
	SYS_writev,
	/* sockets: lanes come again, disks are connected to late */
	SYS_accept,
	SYS_accept4,
	SYS_bind,
	SYS_connect,
	SYS_getpeername,
	SYS_getsockname,
	SYS_listen,
	SYS_recvmmsg,
	SYS_sendmmsg,
	SYS_shutdown,
	SYS_socket,
	SYS_socketpair,
	/* waiting */
	SYS_clock_getres,
	SYS_clock_nanosleep,
	SYS_epoll_create1,
	SYS_epoll_ctl,
	SYS_epoll_pwait,
	SYS_eventfd2,
	SYS_gettimeofday,
	SYS_nanosleep,
	SYS_pselect6,
	SYS_restart_syscall,
	SYS_signalfd4,
	SYS_timerfd_create,
	SYS_timerfd_settime,
	/* threads, children and itself */
	SYS_clone,
	SYS_clone3,
	SYS_exit,
	SYS_exit_group,
	SYS_get_robust_list,
	SYS_getegid,
	SYS_geteuid,
	SYS_getgid,
	SYS_getpid,
	SYS_getppid,
	SYS_getpriority,
	SYS_getrandom,
	SYS_getrusage,
	SYS_gettid,
	SYS_getuid,
	SYS_kill,
	SYS_membarrier,
	SYS_prctl,
	SYS_prlimit64,
	SYS_rseq,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_rt_sigtimedwait,
	SYS_sched_getaffinity,
	SYS_sched_getparam,
	SYS_sched_getscheduler,
	SYS_sched_setaffinity,
	SYS_sched_yield,
	SYS_set_robust_list,
	SYS_set_tid_address,
	SYS_setsid,
	SYS_sigaltstack,
	SYS_sysinfo,
	SYS_tgkill,
	SYS_uname,
	SYS_wait4,
	SYS_waitid,
#ifdef __x86_64__ /* the older names of some of these */
	SYS_access,
	SYS_arch_prctl,
	SYS_chmod,
	SYS_chown,
	SYS_dup2,
	SYS_epoll_create,
	SYS_epoll_wait,
	SYS_eventfd,
	SYS_fork,
	SYS_getrlimit,
	SYS_lchown,
	SYS_lstat,
	SYS_mkdir,
	SYS_open,
	SYS_pipe,
	SYS_poll,
	SYS_readlink,
	SYS_rename,
	SYS_rmdir,
	SYS_select,
	SYS_stat,
	SYS_time,
	SYS_unlink,
	SYS_vfork,
#endif
#ifdef SYS_faccessat2
	SYS_faccessat2,
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#ifdef SYS_getdents
	SYS_getdents,
#endif
	SYS_personality,
	SYS_process_vm_readv,
	SYS_ptrace, /* how leaks are looked for at the end */
	SYS_tkill,
#endif
};

/* Beside these, what a helper needs to become what it is. */
static const int of_helpers[] = { SYS_execve,    SYS_chdir,     SYS_setgroups,
				  SYS_setresgid, SYS_setresuid, SYS_capset };

enum { MOST = 2 * (G_N_ELEMENTS(calls) + G_N_ELEMENTS(of_helpers)) + 16 };

static void add_rule(struct sock_filter *filter, unsigned short *length,
		     struct sock_filter instruction)
{
	filter[(*length)++] = instruction;
}

static void allow(struct sock_filter *filter, unsigned short *length, int call)
{
	add_rule(filter, length,
		 (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned) call, 0, 1));
	add_rule(filter, length, (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

bool rights_confine(bool executes)
{
#ifdef ARCHITECTURE
	enum { NO = SECCOMP_RET_ERRNO | EPERM };
	struct sock_filter filter[MOST];
	struct sock_fprog program = { .filter = filter };
	unsigned short *length = &program.len;
	add_rule(filter, length,
		 (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					       offsetof(struct seccomp_data, arch)));
	add_rule(filter, length,
		 (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
	add_rule(filter, length, (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, NO));
	add_rule(filter, length,
		 (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					       offsetof(struct seccomp_data, nr)));
	for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
		allow(filter, length, calls[i]);
	for (size_t i = 0; executes && i < G_N_ELEMENTS(of_helpers); i++)
		allow(filter, length, of_helpers[i]);
	add_rule(filter, length, (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, NO));
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		       SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0;
#else
	return false;
#endif
}
