/* SPDX-License-Identifier: Apache-2.0 */
/* Host names, URIs, aliases, and what ssh is given. */
#include "base/error.h"
#include "host/remote/address.h"
#include "host/remote/conf.h"
#include "host/remote/remote.h"

#include <glib/gstdio.h>
#include <string.h>

struct row {
	const char *text, *shell;
	int port;
	const char *keyfile, *socket;
	const char *refused; /* a part of the message, or NULL */
};

static const struct row rows[] = {
	{ "hosta", "hosta" },
	{ "root@hosta", "root@hosta" },
	{ "my.alias_1", "my.alias_1" },
	{ "192.0.2.7", "192.0.2.7" },
	{ "2001:db8::7", "2001:db8::7" },
	{ "fe80::1%eth0", "fe80::1%eth0" },
	{ "[2001:db8::7]", "2001:db8::7" },
	{ "root@[2001:db8::7]", "root@2001:db8::7" },
	{ "qemu:///system", NULL },
	{ "qemu+unix:///system", NULL },
	{ "qemu+unix:///system?socket=/run/b/libvirt-sock", NULL, 0, NULL, "/run/b/libvirt-sock" },
	{ "qemu+ssh://hosta/system", "hosta" },
	{ "qemu+ssh://root@hosta:2222/system", "root@hosta", 2222 },
	{ "qemu+ssh://root@[::1]:22/system", "root@::1", 22 },
	{ "qemu+ssh:///system", "localhost" },
	{ "qemu+ssh://h/system?keyfile=/root/.ssh/k%201&socket=/s;no_verify=1", "h", 0,
	  "/root/.ssh/k 1", "/s" },
	{ "qemu+ssh://h/system?keyfile=/k&foo=bar", "h", 0, "/k" },
	{ "", NULL, 0, NULL, NULL, "is empty" },
	{ "-oProxyCommand=id", NULL, 0, NULL, NULL, "begins with" },
	{ "root@-oProxyCommand=id", NULL, 0, NULL, NULL, "begins with" },
	{ "-l@host", NULL, 0, NULL, NULL, "begins with" },
	{ "@host", NULL, 0, NULL, NULL, "is empty" },
	{ "root@", NULL, 0, NULL, NULL, "is empty" },
	{ "a b", NULL, 0, NULL, NULL, "no host name" },
	{ "a;b", NULL, 0, NULL, NULL, "no host name" },
	{ "a$(id)", NULL, 0, NULL, NULL, "no host name" },
	{ "qemu+ssh://-oProxyCommand=id/system", NULL, 0, NULL, NULL, "begins with" },
	{ "qemu+ssh://%2doProxyCommand=id/system", NULL, 0, NULL, NULL, "begins with" },
	{ "qemu+ssh://-x@h/system", NULL, 0, NULL, NULL, "begins with" },
	{ "qemu+ssh://h/system?keyfile=-oX", NULL, 0, NULL, NULL, "makes no sense" },
	{ "qemu+ssh://h/session", NULL, 0, NULL, NULL, "session" },
	{ "qemu:///session", NULL, 0, NULL, NULL, "session" },
	{ "qemu:///embed?root=/x", NULL, 0, NULL, NULL, "/system" },
	{ "qemu://h/system", NULL, 0, NULL, NULL, "TLS" },
	{ "qemu+tls://h/system", NULL, 0, NULL, NULL, "TLS" },
	{ "qemu+tcp://h/system", NULL, 0, NULL, NULL, "TCP" },
	{ "qemu+libssh2://h/system", NULL, 0, NULL, NULL, "built-in ssh" },
	{ "qemu+ext:///system?command=x", NULL, 0, NULL, NULL, "external" },
	{ "xen:///system", NULL, 0, NULL, NULL, "only QEMU" },
	{ "test:///default", NULL, 0, NULL, NULL, "only QEMU" },
	{ "qemu+ssh://h:99999/system", NULL, 0, NULL, NULL, "not a URI" },
};

static void check_row(const struct row *row)
{
	g_autoptr(GError) error = NULL;
	struct host_address *address = host_address_parse(row->text, &error);
	if (row->refused) {
		g_assert_null(address);
		g_assert_error(error, WATARI_ERROR, WATARI_ERROR_USAGE);
		if (!strstr(error->message, row->refused))
			g_error("%s: “%s” lacks “%s”", row->text, error->message, row->refused);
		return;
	}
	g_assert_no_error(error);
	g_assert_cmpstr(address->text, ==, row->text);
	g_assert_cmpstr(address->shell, ==, row->shell);
	g_assert_cmpint(address->port, ==, row->port);
	g_assert_cmpstr(address->keyfile, ==, row->keyfile);
	g_assert_cmpstr(address->socket, ==, row->socket);
	host_address_free(address);
}

static void test_parse(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		check_row(&rows[i]);
}

static void test_split(void)
{
	static const struct {
		const char *text, *shell, *domain;
	} table[] = {
		{ "vm", NULL, "vm" },
		{ ":vm:1", NULL, "vm:1" },
		{ "hosta:vm", "hosta", "vm" },
		{ "root@hosta:vm:1", "root@hosta", "vm:1" },
		{ "[::1]:vm", "::1", "vm" },
		{ "root@[2001:db8::1]:vm", "root@2001:db8::1", "vm" },
		{ "hosta:", NULL, NULL },
		{ "", NULL, NULL },
		{ "-x:vm", NULL, NULL },
		{ "qemu+ssh://h/system", NULL, NULL },
	};
	g_setenv("LIBVIRT_DEFAULT_URI", "qemu:///system", TRUE);
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		g_autoptr(GError) error = NULL;
		const char *domain = NULL;
		struct host_address *address =
			host_address_split_vm(table[i].text, &domain, &error);
		g_assert_true((address != NULL) == (table[i].domain != NULL));
		if (address) {
			g_assert_cmpstr(address->shell, ==, table[i].shell);
			g_assert_cmpstr(domain, ==, table[i].domain);
		} else {
			g_assert_error(error, WATARI_ERROR, WATARI_ERROR_USAGE);
		}
		host_address_free(address);
	}
	g_unsetenv("LIBVIRT_DEFAULT_URI");
}

static const char conf_text[] =
	"# uri_aliases = [ \"no=qemu+ssh://no/system\" ]\n"
	"uri_aliases = [\n"
	"  \"hail=qemu+ssh://root@hail.example.com/system\", # a comment with ] and \"\n"
	"  'sleet=qemu+ssh://root@sleet/system?keyfile=/k',\n"
	"\n"
	"  \"tls=qemu://snow/system\",\n"
	"]\n"
	"  number=5 # five\n"
	"broken line without sense\n"
	"open = \"no end\n"
	"text = \"\"\"two\nlines\"\"\"\n"
	"uri_default = 'qemu+ssh://from-file/system'\n"
	"negative = -1\n";

static void test_conf(void)
{
	struct conf *conf = conf_parse(conf_text);
	g_assert_cmpuint(g_strv_length((char **) (uintptr_t) conf_get_list(conf, "uri_aliases")),
			 ==, 3);
	g_assert_cmpint(conf_get_int(conf, "number", 0), ==, 5);
	g_assert_cmpint(conf_get_int(conf, "negative", 0), ==, -1);
	g_assert_cmpint(conf_get_int(conf, "text", 7), ==, 7);
	g_assert_cmpstr(conf_get_string(conf, "text"), ==, "two\nlines");
	g_assert_null(conf_get_string(conf, "open"));
	g_assert_null(conf_get_string(conf, "uri_aliases"));
	conf_free(conf);
	/* no end, anywhere */
	for (size_t length = 0; length < sizeof(conf_text); length++) {
		g_autofree char *part = g_strndup(conf_text, length);
		conf_free(conf_parse(part));
	}
}

static void test_alias(void)
{
	g_autoptr(GError) error = NULL;
	struct host_address *address = host_address_parse("sleet", &error);
	g_assert_no_error(error);
	g_assert_cmpstr(address->text, ==, "sleet");
	g_assert_cmpstr(address->shell, ==, "root@sleet");
	g_assert_cmpstr(address->keyfile, ==, "/k");
	host_address_free(address);
	address = host_address_parse("slee", &error);
	g_assert_cmpstr(address->shell, ==, "slee");
	host_address_free(address);
	g_assert_null(host_address_parse("tls", &error));
	g_assert_nonnull(strstr(error->message, "stands for"));
}

static void test_default(void)
{
	struct host_address *address = host_address_parse(NULL, NULL);
	g_assert_cmpstr(address->shell, ==, "from-file");
	host_address_free(address);
	g_setenv("LIBVIRT_DEFAULT_URI", "qemu+ssh://from-environment/system", TRUE);
	address = host_address_parse(NULL, NULL);
	g_assert_cmpstr(address->shell, ==, "from-environment");
	host_address_free(address);
	g_setenv("LIBVIRT_DEFAULT_URI", "qemu:///session", TRUE);
	g_assert_null(host_address_parse(NULL, NULL));
	g_unsetenv("LIBVIRT_DEFAULT_URI");
}

static void test_quote(void)
{
	const char *const argv[] = { "a b", "it's", "$(id)", "", "x\ny", NULL };
	g_autofree char *line = remote_quote(argv);
	g_autofree char *script = g_strdup_printf("printf '[%%s]' %s", line);
	const char *const shell[] = { "sh", "-c", script, NULL };
	struct host_address *here = host_address_parse("qemu:///system", NULL);
	g_autofree char *output = NULL;
	g_autoptr(GError) error = NULL;
	remote_run(NULL, here, shell, 5000, &output, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(output, ==, "[a b][it's][$(id)][][x\ny]");
	host_address_free(here);
}

static void test_command(void)
{
	struct host_address *address =
		host_address_parse("qemu+ssh://root@[::1]:2222/system?keyfile=/k", NULL);
	const char *const argv[] = { "echo", "a b", NULL };
	g_auto(GStrv) words = remote_command(NULL, address, REMOTE_ALONE, argv);
	g_autofree char *line = g_strjoinv(" ", words);
	g_assert_true(g_str_has_prefix(line, "ssh -T "));
	g_assert_nonnull(strstr(line, " -p 2222 -i /k -- root@::1 'sh' '-c' '"));
	g_assert_true(g_str_has_suffix(line, " 'root' 'echo' 'a b'"));
	g_assert_nonnull(strstr(line, " -oControlMaster=no -oControlPath=none "));
	/* Without a socket nothing is shared; with one, movers still have a connection of their own. */
	g_auto(GStrv) bare = remote_command(NULL, address, REMOTE_JOINS, argv);
	g_assert_cmpuint(g_strv_length(bare), ==, g_strv_length(words));
	g_assert_true(g_strv_contains((const char *const *) bare, "-oControlPath=none"));
	address->shared = g_strdup("/nowhere/s");
	static const char *const masters[] = { [REMOTE_ALONE] = "-oControlMaster=no",
					       [REMOTE_FIRST] = "-oControlMaster=yes",
					       [REMOTE_JOINS] = "-oControlMaster=no" };
	for (enum remote_share share = REMOTE_ALONE; share <= REMOTE_JOINS; share++) {
		g_auto(GStrv) given = remote_command(NULL, address, share, argv);
		const char *const *list = (const char *const *) given;
		g_assert_true(g_strv_contains(list, masters[share]));
		g_assert_true(g_strv_contains(list, share == REMOTE_ALONE
							    ? "-oControlPath=none"
							    : "-oControlPath=/nowhere/s"));
	}
	char *rsh[] = { g_strdup("ip-run"), g_strdup("--fast"), NULL };
	struct remote_shell shell = { .rsh = rsh };
	g_auto(GStrv) other = remote_command(&shell, address, REMOTE_FIRST, argv);
	g_autofree char *other_line = g_strjoinv("|", other);
	g_assert_true(g_str_has_prefix(other_line, "ip-run|--fast|root@::1|'sh' '-c' '"));
	g_assert_true(g_str_has_suffix(other_line, " 'libvirt' 'echo' 'a b'"));
	g_assert_null(strchr(other_line, '\n'));
	g_free(rsh[0]);
	g_free(rsh[1]);
	host_address_free(address);
}

static void test_run(void)
{
	struct host_address *here = host_address_parse("qemu:///system", NULL);
	const char *const fail[] = { "sh", "-c", "echo out; printf 'why\\033[1m\\n' >&2; exit 3",
				     NULL };
	g_autofree char *output = NULL;
	g_autoptr(GError) error = NULL;
	int status = 0;
	g_assert_false(remote_run(NULL, here, fail, 5000, &output, NULL, &error));
	g_assert_null(output);
	g_assert_cmpstr(error->message, ==, "why?[1m");
	g_assert_true(remote_run(NULL, here, fail, 5000, &output, &status, NULL));
	g_assert_cmpint(status, ==, 3);
	g_assert_cmpstr(output, ==, "out\n");
	const char *const slow[] = { "sh", "-c", "sleep 60 & sleep 60", NULL };
	gint64 start = g_get_monotonic_time();
	g_clear_error(&error);
	g_assert_false(remote_run(NULL, here, slow, 300, NULL, NULL, &error));
	g_assert_cmpint(g_get_monotonic_time() - start, <, 3 * G_USEC_PER_SEC);
	const char *const missing[] = { "/nonexistent/program", NULL };
	g_clear_error(&error);
	g_assert_false(remote_run(NULL, here, missing, 300, NULL, NULL, &error));
	host_address_free(here);
}

/* A remote shell as ssh's: the last words of its arguments are run by a login shell, which PRINTS. */
static struct remote_shell new_shell(const char *prints)
{
	char **rsh = g_new0(char *, 5);
	rsh[0] = g_strdup("sh");
	rsh[1] = g_strdup("-c");
	rsh[2] = g_strdup_printf("%s; sh -c \"$2\"", prints);
	rsh[3] = g_strdup("rsh");
	return (struct remote_shell){ .rsh = rsh };
}

/* What the login shell prints is not the command's, whatever it looks like. */
static void test_noise(void)
{
	static const struct {
		const char *prints, *noise;
	} prints[] = {
		{ "true", NULL },
		{ "echo welcome", "welcome" },
		{ "printf 'two\\nlines'", "two lines" },
		{ "printf '\\n\\nwatari-begin\\n\\033[1m'", "watari-begin" },
		{ "head -c 60000 /dev/zero | tr '\\0' x", "xxxx" },
	};
	struct host_address *address = host_address_parse("nowhere", NULL);
	const char *const argv[] = { "printf", "%s|", "a b", "it's", "", "\nx", NULL };
	for (size_t i = 0; i < G_N_ELEMENTS(prints); i++) {
		g_autofree char *output = NULL, *noise = NULL;
		g_autoptr(GError) error = NULL;
		struct remote_shell shell = new_shell(prints[i].prints);
		remote_run_aloud(&shell, address, argv, 10000, &output, &noise, NULL, &error);
		g_assert_no_error(error);
		g_assert_cmpstr(output, ==, "a b|it's||\nx|");
		g_assert_true(prints[i].noise ? noise && g_str_has_prefix(noise, prints[i].noise)
					      : !noise);
		g_strfreev(shell.rsh);
	}
	host_address_free(address);
}

/* Here nothing stands before the command. */
static void test_no_noise(void)
{
	struct host_address *here = host_address_parse("qemu:///system", NULL);
	const char *const argv[] = { "echo", "hello", NULL };
	g_autofree char *output = NULL, *noise = NULL;
	g_assert_true(remote_run_aloud(NULL, here, argv, 5000, &output, &noise, NULL, NULL));
	g_assert_cmpstr(output, ==, "hello\n");
	g_assert_null(noise);
	host_address_free(here);
}

/* A login shell that runs nothing is named by what it says instead. */
static void test_no_command(void)
{
	static const char *const prints[] = { "echo no account here; exit 1",
					      "yes closed; exit 1" };
	static const char *const words[] = { "“no account here” and ran nothing",
					     "“closed closed" };
	struct host_address *address = host_address_parse("nowhere", NULL);
	const char *const argv[] = { "true", NULL };
	for (size_t i = 0; i < G_N_ELEMENTS(prints); i++) {
		g_autoptr(GError) error = NULL;
		struct remote_shell shell = new_shell(prints[i]);
		int status = 0;
		g_assert_false(remote_run(&shell, address, argv, 10000, NULL, &status, &error));
		if (!strstr(error->message, words[i]))
			g_error("%s", error->message);
		g_strfreev(shell.rsh);
	}
	host_address_free(address);
}

/* A remote shell that is not here: the next step is the option that named it. */
static void test_no_shell(void)
{
	char name[] = "/nonexistent/rsh";
	char *rsh[] = { name, NULL };
	const struct remote_shell shell = { .rsh = rsh };
	struct host_address *address = host_address_parse("nowhere", NULL);
	const char *const argv[] = { "true", NULL };
	g_autoptr(GError) error = NULL;
	g_assert_false(remote_run(&shell, address, argv, 10000, NULL, NULL, &error));
	g_autofree char *what = error_what(error), *next = error_next(error);
	g_assert_nonnull(strstr(what, name));
	g_assert_nonnull(strstr(next, "--rsh"));
	host_address_free(address);
}

static void test_watari(void)
{
	static const struct {
		const char *text, *words;
	} given[] = {
		{ NULL, "watari" },
		{ "/opt/watari", "/opt/watari" },
		{ "sudo -n watari", "sudo|-n|watari" },
		{ "'/opt/my watari'", "/opt/my watari" },
		{ "it's", "it's" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(given); i++) {
		struct remote_shell shell = { .watari = given[i].text };
		g_auto(GStrv) words = remote_watari(&shell);
		g_autofree char *joined = g_strjoinv("|", words);
		g_assert_cmpstr(joined, ==, given[i].words);
	}
}

int main(int argc, char **argv)
{
	g_autofree char *folder = g_dir_make_tmp("watari-test-XXXXXX", NULL);
	g_autofree char *inner = g_build_filename(folder, "libvirt", NULL);
	g_autofree char *file = g_build_filename(inner, "libvirt.conf", NULL);
	g_mkdir(inner, 0700);
	g_file_set_contents(file, conf_text, -1, NULL);
	g_setenv("XDG_CONFIG_HOME", folder, TRUE);
	g_unsetenv("LIBVIRT_DEFAULT_URI");
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/address/parse", test_parse);
	g_test_add_func("/address/split", test_split);
	g_test_add_func("/address/conf", test_conf);
	g_test_add_func("/address/alias", test_alias);
	g_test_add_func("/address/default", test_default);
	g_test_add_func("/remote/quote", test_quote);
	g_test_add_func("/remote/command", test_command);
	g_test_add_func("/remote/run", test_run);
	g_test_add_func("/remote/noise", test_noise);
	g_test_add_func("/remote/no-noise", test_no_noise);
	g_test_add_func("/remote/no-command", test_no_command);
	g_test_add_func("/remote/no-shell", test_no_shell);
	g_test_add_func("/remote/watari", test_watari);
	int result = g_test_run();
	g_remove(file);
	g_rmdir(inner);
	g_rmdir(folder);
	return result;
}
