/* SPDX-License-Identifier: Apache-2.0 */
/* Commands at a host. See remote.h. */
#include "host/remote/remote.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>

#define RUN_OUTPUT_MAX (1024 * 1024)
#define SOCKET_PATH_MAX sizeof(((struct sockaddr_un *) NULL)->sun_path)

/* A shared connection of the user's would have its own keepalive or none, and a cut link would then
 * never be seen: only our own are shared (add_share). RemoteCommand=none: a command in the user's
 * settings would forbid ours. Everything else in ~/.ssh/config holds. */
static const char *const ssh_options[] = {
	"-T",
	"-enone",
	"-oBatchMode=yes",
	"-oServerAliveInterval=5",
	"-oServerAliveCountMax=3",
	"-oConnectTimeout=15",
	"-oClearAllForwardings=yes",
	"-oForwardX11=no",
	"-oForwardAgent=no",
	"-oControlPersist=no",
	"-oPermitLocalCommand=no",
	"-oRemoteCommand=none",
};

char *remote_quote(const char *const *argv)
{
	GString *line = g_string_new(NULL);
	for (unsigned i = 0; argv[i]; i++) {
		/* g_shell_quote is for POSIX shells: '...' with '\'' for the quote itself */
		g_autofree char *quoted = g_shell_quote(argv[i]);
		g_string_append_printf(line, "%s%s", i ? " " : "", quoted);
	}
	return g_string_free(line, FALSE);
}

char **remote_watari(const struct remote_shell *shell)
{
	const char *const usual[] = { "watari", NULL };
	char **words = NULL;
	if (!shell || !shell->watari)
		return g_strdupv((char **) (uintptr_t) usual);
	if (g_shell_parse_argv(shell->watari, NULL, &words, NULL))
		return words;
	const char *const whole[] = { shell->watari, NULL };
	return g_strdupv((char **) (uintptr_t) whole);
}

char *remote_share_path(void)
{
	const char *base = g_get_user_runtime_dir();
	GStatBuf about;
	g_autofree char *unique = g_uuid_string_random();
	if (g_stat(base, &about) != 0 || about.st_uid != geteuid() || about.st_mode & 022)
		return NULL;
	g_autofree char *path = g_strdup_printf("%s/watari-ssh-%.8s", base, unique);
	/* ssh binds a longer name first and renames it; and it reads options its own way */
	if (strlen(path) + 20 >= SOCKET_PATH_MAX || strpbrk(path, " \t%$\"'\\"))
		return NULL;
	return g_steal_pointer(&path);
}

static void add_share(GPtrArray *words, const struct host_address *host, enum remote_share share)
{
	bool used = share != REMOTE_ALONE && host->shared;
	g_ptr_array_add(words, g_strdup(used && share == REMOTE_FIRST ? "-oControlMaster=yes"
								      : "-oControlMaster=no"));
	g_ptr_array_add(words, g_strconcat("-oControlPath=", used ? host->shared : "none", NULL));
}

static void add_ssh(GPtrArray *words, const struct host_address *host, enum remote_share share)
{
	g_ptr_array_add(words, g_strdup(host->command ? host->command : "ssh"));
	for (unsigned i = 0; i < G_N_ELEMENTS(ssh_options); i++)
		g_ptr_array_add(words, g_strdup(ssh_options[i]));
	add_share(words, host, share);
	if (host->port) {
		g_ptr_array_add(words, g_strdup("-p"));
		g_ptr_array_add(words, g_strdup_printf("%d", host->port));
	}
	if (host->keyfile) {
		g_ptr_array_add(words, g_strdup("-i"));
		g_ptr_array_add(words, g_strdup(host->keyfile));
	}
	if (host->no_verify) {
		g_ptr_array_add(words, g_strdup("-o"));
		g_ptr_array_add(words, g_strdup("StrictHostKeyChecking=no"));
	}
	g_ptr_array_add(words, g_strdup("--"));
}

char **remote_command(const struct remote_shell *shell, const struct host_address *host,
		      enum remote_share share, const char *const *argv)
{
	/* here, as root, nothing stands before it */
	if (!host->shell && geteuid() == 0)
		return g_strdupv((char **) (uintptr_t) argv);
	/* the first is the relay's: it leads to libvirt, and takes no more than that */
	g_auto(GStrv) whole = begin_wrap(argv, share == REMOTE_FIRST ? BEGIN_LIBVIRT : BEGIN_ROOT);
	if (!host->shell)
		return g_steal_pointer(&whole);
	GPtrArray *words = g_ptr_array_new();
	if (shell && shell->rsh)
		for (unsigned i = 0; shell->rsh[i]; i++)
			g_ptr_array_add(words, g_strdup(shell->rsh[i]));
	else
		add_ssh(words, host, share);
	/* host_address_parse lets no name through that begins with '-' */
	g_ptr_array_add(words, g_strdup(host->shell));
	g_ptr_array_add(words, remote_quote((const char *const *) whole));
	g_ptr_array_add(words, NULL);
	return (char **) g_ptr_array_free(words, FALSE);
}

/* In the child: its own session and default signals. It is not tied to our death (PDEATHSIG): a
 * mover that has decided the hand-over must live to its end; all others see the end of stdin. */
static void prepare_child(gpointer data)
{
	setsid();
	static const int handled[] = { SIGPIPE, SIGINT, SIGHUP, SIGTERM, SIGQUIT };
	for (unsigned i = 0; i < G_N_ELEMENTS(handled); i++)
		signal(handled[i], SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

bool remote_spawn(const struct remote_shell *shell, const struct host_address *host,
		  enum remote_share share, const char *const *argv, struct remote_child *child,
		  GError **error)
{
	g_auto(GStrv) words = remote_command(shell, host, share, argv);
	g_autoptr(GError) reason = NULL;
	*child = (struct remote_child){ .pid = -1, .to = -1, .from = -1, .errors = -1 };
	if (!g_spawn_async_with_pipes(NULL, words, NULL,
				      G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
					      G_SPAWN_CLOEXEC_PIPES,
				      prepare_child, NULL, &child->pid, &child->to, &child->from,
				      &child->errors, &reason)) {
		child->pid = -1;
		return error_set(error, WATARI_ERROR_INTERNAL,
				 shell && shell->rsh
					 ? _("Name a program that is here with --rsh.")
					 : _("Install the OpenSSH client on this machine."),
				 _("cannot run %s: %s"), words[0], reason->message);
	}
	fd_set_nonblocking(child->errors, true);
	fd_set_nonblocking(child->from, true);
	child->begin.done = !host->shell && geteuid() == 0;
	return true;
}

/* Keep the last bytes only: the reason stands at the end of what ssh says. */
static void keep_complaint(struct remote_child *child, const char *data, size_t length)
{
	size_t room = REMOTE_COMPLAINT_MAX;
	if (length > room) {
		data += length - room;
		length = room;
	}
	size_t kept = MIN(child->complaint_length, room - length);
	memmove(child->complaint, child->complaint + child->complaint_length - kept, kept);
	memcpy(child->complaint + kept, data, length);
	child->complaint_length = kept + length;
}

void remote_collect(struct remote_child *child)
{
	char data[1024];
	/* bounded: a child that writes for ever must not hold us here */
	for (unsigned i = 0; child->errors >= 0 && i < 64; i++) {
		ssize_t got = read(child->errors, data, sizeof(data));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return;
		if (got == 0) {
			close(child->errors);
			child->errors = -1;
			return;
		}
		keep_complaint(child, data, (size_t) got);
	}
}

/* Valid UTF-8, no control characters: it may come from a hostile host and goes to a terminal. */
static char *make_printable(const char *data, size_t length)
{
	g_autofree char *valid = g_utf8_make_valid(data, (gssize) length);
	GString *text = g_string_new(NULL);
	for (char *at = valid; *at; at = g_utf8_next_char(at)) {
		gunichar c = g_utf8_get_char(at);
		if (c == '\r')
			continue;
		g_string_append_unichar(text, c == '\n' || g_unichar_isprint(c) ? c : '?');
	}
	return g_strstrip(g_string_free(text, FALSE));
}

char *remote_complaint(struct remote_child *child)
{
	remote_collect(child);
	char *complaint = make_printable(child->complaint, child->complaint_length);
	g_autofree char *noise = child->begin.done ? NULL : begin_noise(&child->begin);
	if (!noise || *complaint)
		return complaint;
	g_free(complaint);
	return g_strdup_printf(_("the login shell printed “%s” and ran nothing"), noise);
}

static int wait_child(pid_t pid, int timeout_ms, int *status)
{
	int64_t limit = clock_now_ms() + timeout_ms;
	for (;;) {
		pid_t got = waitpid(pid, status, WNOHANG);
		if (got != 0 && !(got < 0 && errno == EINTR))
			return got < 0 ? -1 : 1;
		if (clock_now_ms() >= limit)
			return 0;
		g_usleep(2000);
	}
}

int remote_end(struct remote_child *child, int grace_ms)
{
	int status = -1;
	if (child->to >= 0)
		close(fd_steal(&child->to));
	if (child->from >= 0)
		close(fd_steal(&child->from));
	if (child->pid > 0) {
		int ended = wait_child(child->pid, grace_ms, &status);
		/* the whole session: a remote shell of the user's may have children of its own */
		if (ended == 0 && kill(-child->pid, SIGTERM) == 0)
			ended = wait_child(child->pid, 200, &status);
		if (ended == 0) {
			kill(-child->pid, SIGKILL);
			ended = wait_child(child->pid, 2000, &status);
		}
		if (ended < 0)
			status = -1;
		child->pid = -1;
	}
	remote_collect(child);
	if (child->errors >= 0)
		close(fd_steal(&child->errors));
	return status;
}

/* Read its output until it closes it. False when time is up. */
static bool read_output(struct remote_child *child, GString *output, int timeout_ms)
{
	int64_t limit = clock_now_ms() + timeout_ms;
	char data[4096];
	for (;;) {
		struct pollfd ready[] = { { child->from, POLLIN, 0 },
					  { child->errors, POLLIN, 0 } };
		int64_t left = limit - clock_now_ms();
		if (left <= 0)
			return false;
		if (poll(ready, 2, (int) left) < 0 && errno != EINTR)
			return false;
		if (ready[1].revents)
			remote_collect(child);
		if (!ready[0].revents)
			continue;
		enum begin_state state = begin_read(&child->begin, child->from);
		if (state == BEGIN_BROKEN)
			return true;
		if (state == BEGIN_WAITS)
			continue;
		ssize_t got = read(child->from, data, sizeof(data));
		if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
			return true;
		if (got > 0 && output->len + (size_t) got <= RUN_OUTPUT_MAX)
			g_string_append_len(output, data, got);
	}
}

static int exit_status(int status)
{
	return status < 0 ? 127 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool remote_run(const struct remote_shell *shell, const struct host_address *host,
		const char *const *argv, int timeout_ms, char **output, int *status, GError **error)
{
	return remote_run_aloud(shell, host, argv, timeout_ms, output, NULL, status, error);
}

/* To its end. The caller has closed its stdin. */
static bool finish_run(struct remote_child *child, const char *name, int timeout_ms, char **output,
		       char **noise, int *status, GError **error)
{
	GString *text = g_string_new(NULL);
	bool in_time = read_output(child, text, timeout_ms);
	int code = exit_status(remote_end(child, in_time ? 2000 : 0));
	g_autofree char *complaint = remote_complaint(child);
	if (noise)
		*noise = begin_noise(&child->begin);
	if (output)
		*output = g_string_free(text, FALSE);
	else
		g_string_free(text, TRUE);
	if (status)
		*status = code;
	if (in_time && child->begin.done && (status || code == 0))
		return true;
	if (output)
		g_clear_pointer(output, g_free);
	if (!in_time)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("%s: no answer within %d s"),
				 name, timeout_ms / 1000);
	if (*complaint)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", complaint);
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("%s ended with status %d"), name,
			 code);
}

bool remote_run_aloud(const struct remote_shell *shell, const struct host_address *host,
		      const char *const *argv, int timeout_ms, char **output, char **noise,
		      int *status, GError **error)
{
	struct remote_child child;
	if (!remote_spawn(shell, host, REMOTE_JOINS, argv, &child, error))
		return false;
	close(fd_steal(&child.to));
	return finish_run(&child, argv[0], timeout_ms, output, noise, status, error);
}

bool remote_feed(const struct remote_shell *shell, const struct host_address *host,
		 const char *const *argv, const void *input, size_t length, int timeout_ms,
		 char **output, GError **error)
{
	struct remote_child child;
	if (!remote_spawn(shell, host, REMOTE_JOINS, argv, &child, error))
		return false;
	/* what it did not take, its status says */
	if (length > 0)
		fd_write_all(child.to, input, length);
	close(fd_steal(&child.to));
	return finish_run(&child, argv[0], timeout_ms, output, NULL, NULL, error);
}
