/* SPDX-License-Identifier: Apache-2.0 */
/* Host names, ssh aliases and libvirt URIs. See address.h. */
#include "host/remote/address.h"

#include "base/error.h"
#include "base/i18n.h"
#include "host/remote/conf.h"

#include <string.h>
#include <unistd.h>

/* Where libvirt's client settings live: the user's file first, the system's for what is not there.
 * libvirt itself reads only one of them (root: the system's); reading both finds the same aliases
 * and a few more. */
static struct conf *load_client_conf(unsigned which)
{
	g_autofree char *own =
		g_build_filename(g_get_user_config_dir(), "libvirt", "libvirt.conf", NULL);
	const char *paths[] = { own, "/etc/libvirt/libvirt.conf" };
	return which < G_N_ELEMENTS(paths) ? conf_load(paths[which]) : NULL;
}

/* The URI behind an alias, or (ALIAS NULL) the default one. NULL: none. Caller frees. */
static char *look_up_name(const struct conf *conf, const char *alias)
{
	if (!alias)
		return g_strdup(conf_get_string(conf, "uri_default"));
	const char *const *list = conf_get_list(conf, "uri_aliases");
	size_t length = strlen(alias);
	for (; list && *list; list++)
		if (g_str_has_prefix(*list, alias) && (*list)[length] == '=')
			return g_strdup(*list + length + 1);
	return NULL;
}

static char *find_in_client_conf(const char *alias)
{
	for (unsigned which = 0; which < 2; which++) {
		struct conf *conf = load_client_conf(which);
		char *uri = conf ? look_up_name(conf, alias) : NULL;
		conf_free(conf);
		if (uri)
			return uri;
	}
	return NULL;
}

/* A host or user that ssh can be given: no option, no blank, nothing a shell would act on. */
static bool check_word(const char *text, const char *word, const char *kind, GError **error)
{
	const char *bad = strpbrk(word, " \t\r\n\"'\\`$;&|<>(){}*?!#/,");
	if (*word && *word != '-' && !bad)
		return true;
	return error_set(error, WATARI_ERROR_USAGE,
			 _("Give a host name, an ssh alias, user@host or a libvirt URI."),
			 _("“%s” does not name a host: the %s “%s” %s"), text, kind, word,
			 !*word         ? _("is empty")
			 : *word == '-' ? _("begins with “-”")
					: _("has a character that no host name has"));
}

/* [USER@]HOST with HOST perhaps an IPv6 address in brackets. */
static bool set_shell(struct host_address *address, const char *destination, GError **error)
{
	g_autofree char *user = NULL;
	const char *host = strrchr(destination, '@');
	if (host) {
		user = g_strndup(destination, (gsize) (host - destination));
		host++;
		if (!check_word(address->text, user, _("user"), error))
			return false;
	} else {
		host = destination;
	}
	g_autofree char *bare = g_strdup(host);
	size_t length = strlen(bare);
	if (length > 2 && bare[0] == '[' && bare[length - 1] == ']') {
		bare[length - 1] = 0;
		memmove(bare, bare + 1, length - 1);
	}
	if (!check_word(address->text, bare, _("host"), error))
		return false;
	address->shell = user ? g_strdup_printf("%s@%s", user, bare) : g_steal_pointer(&bare);
	return true;
}

/* What the parameters of a libvirt URI mean to us. Others (known_hosts, sshauth, mode, ...) choose
 * among ways that libvirt has and we have not; they lose nothing by being passed over. */
static const struct {
	const char *name;
	size_t offset;
	bool ssh; /* means nothing without ssh */
} uri_parameters[] = {
	{ "keyfile", G_STRUCT_OFFSET(struct host_address, keyfile), true },
	{ "socket", G_STRUCT_OFFSET(struct host_address, socket), false },
	{ "netcat", G_STRUCT_OFFSET(struct host_address, netcat), true },
	{ "command", G_STRUCT_OFFSET(struct host_address, command), true },
};

static bool set_parameters(struct host_address *address, const char *query, GError **error)
{
	g_autoptr(GHashTable) values = g_uri_parse_params(query, -1, "&;", G_URI_PARAMS_NONE, NULL);
	if (!values)
		return error_set(error, WATARI_ERROR_USAGE, NULL,
				 _("“%s”: the part after “?” is not a list of name=value"),
				 address->text);
	for (unsigned i = 0; i < G_N_ELEMENTS(uri_parameters); i++) {
		const char *value = g_hash_table_lookup(values, uri_parameters[i].name);
		if (!value || (uri_parameters[i].ssh && !address->shell))
			continue;
		if (!*value || *value == '-')
			return error_set(error, WATARI_ERROR_USAGE, NULL,
					 _("“%s”: the value of “%s” makes no sense"), address->text,
					 uri_parameters[i].name);
		G_STRUCT_MEMBER(char *, address, uri_parameters[i].offset) = g_strdup(value);
	}
	const char *no_verify = g_hash_table_lookup(values, "no_verify");
	address->no_verify = no_verify && strcmp(no_verify, "0") != 0;
	return true;
}

/* The ways to a libvirt and why some cannot be ours. */
static const struct {
	const char *scheme;
	bool remote;
	const char *refusal;
} transports[] = {
	{ "qemu+ssh", true, NULL },
	{ "qemu+unix", false, NULL },
	{ "qemu", false, NULL },
	{ "qemu+tls", true, N_("its TLS connection cannot be guarded against a lost answer") },
	{ "qemu+tcp", true,
	  N_("its unencrypted TCP connection cannot be guarded against a lost answer") },
	{ "qemu+libssh2", true,
	  N_("libvirt's built-in ssh cannot be guarded against a lost answer") },
	{ "qemu+libssh", true,
	  N_("libvirt's built-in ssh cannot be guarded against a lost answer") },
	{ "qemu+ext", true,
	  N_("an external connection command cannot be guarded against a lost answer") },
};

static bool refuse_uri(const struct host_address *address, const char *reason, GError **error)
{
	return error_set(
		error, WATARI_ERROR_USAGE,
		_("Use a host name, qemu+ssh://HOST/system, or qemu:///system for this host."),
		_("“%s” cannot be used: %s"), address->text, reason);
}

static bool check_transport(const struct host_address *address, const char *scheme, bool has_host,
			    bool *remote, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(transports); i++) {
		if (strcmp(scheme, transports[i].scheme) != 0)
			continue;
		if (transports[i].refusal)
			return refuse_uri(address, _(transports[i].refusal), error);
		*remote = transports[i].remote;
		/* libvirt reads qemu://host/system as TLS */
		if (!*remote && has_host)
			return refuse_uri(
				address,
				_("its TLS connection cannot be guarded against a lost answer"),
				error);
		return true;
	}
	return refuse_uri(address, _("only QEMU under libvirt can be migrated"), error);
}

static bool check_path(const struct host_address *address, const char *path, GError **error)
{
	if (strcmp(path, "/system") == 0)
		return true;
	if (strcmp(path, "/session") == 0)
		return refuse_uri(address, _("a user's session libvirt cannot migrate its VMs"),
				  error);
	return refuse_uri(address, _("the path of a QEMU URI is /system"), error);
}

static bool parse_uri(struct host_address *address, const char *uri, GError **error)
{
	g_autofree char *scheme = NULL, *user = NULL, *host = NULL, *path = NULL, *query = NULL;
	g_autoptr(GError) bad = NULL;
	int port = -1;
	if (!g_uri_split_with_user(uri, G_URI_FLAGS_NONE, &scheme, &user, NULL, NULL, &host, &port,
				   &path, &query, NULL, &bad))
		return error_set(error, WATARI_ERROR_USAGE, NULL, _("“%s” is not a URI: %s"),
				 address->text, bad->message);
	bool remote = false, has_host = host && *host;
	if (!check_transport(address, scheme, has_host, &remote, error) ||
	    !check_path(address, path, error))
		return false;
	if (remote) {
		/* as libvirt: no host in qemu+ssh:///system is this host, over ssh */
		g_autofree char *destination = g_strdup_printf(
			"%s%s%s", user ? user : "", user ? "@" : "", has_host ? host : "localhost");
		if (!set_shell(address, destination, error))
			return false;
		address->port = port > 0 ? port : 0;
	}
	return !query || set_parameters(address, query, error);
}

static bool parse_text(struct host_address *address, const char *text, GError **error)
{
	if (!text) {
		const char *set = g_getenv("LIBVIRT_DEFAULT_URI");
		g_autofree char *uri = set && *set ? g_strdup(set) : find_in_client_conf(NULL);
		if (!uri) {
			address->text = g_strdup("qemu:///system");
			return true;
		}
		address->text = g_strdup(uri);
		return parse_uri(address, uri, error);
	}
	address->text = g_strdup(text);
	if (strstr(text, "://"))
		return parse_uri(address, text, error);
	g_autofree char *alias = *text ? find_in_client_conf(text) : NULL;
	if (alias) {
		if (parse_uri(address, alias, error))
			return true;
		error_prefix(error, _("libvirt's alias “%s” stands for “%s”"), text, alias);
		return false;
	}
	return set_shell(address, text, error);
}

struct host_address *host_address_parse(const char *text, GError **error)
{
	struct host_address *address = g_new0(struct host_address, 1);
	if (parse_text(address, text, error))
		return address;
	host_address_free(address);
	return NULL;
}

/* Where the VM's name begins in "HOST:VM"; TEXT itself when there is no host. */
static const char *find_domain_part(const char *text)
{
	const char *from = text;
	if (*text == '[' || strstr(text, "@[")) {
		const char *close = strchr(text, ']');
		from = close ? close : text;
	}
	const char *colon = strchr(from, ':');
	return colon ? colon + 1 : text;
}

struct host_address *host_address_split_vm(const char *text, const char **domain, GError **error)
{
	if (strstr(text, "://")) {
		error_set(error, WATARI_ERROR_USAGE,
			  _("Give the URI with -c and only the VM's name here."),
			  _("“%s” is a libvirt URI where a VM is expected"), text);
		return NULL;
	}
	*domain = find_domain_part(text);
	if (!**domain) {
		error_set(error, WATARI_ERROR_USAGE, _("Give VM or HOST:VM."),
			  _("“%s” names no VM"), text);
		return NULL;
	}
	if (*domain <= text + 1) /* no host, or the empty one that keeps a colon in a VM's name */
		return host_address_parse(NULL, error);
	g_autofree char *host = g_strndup(text, (gsize) (*domain - text - 1));
	return host_address_parse(host, error);
}

void host_address_free(struct host_address *address)
{
	if (!address)
		return;
	g_free(address->text);
	g_free(address->shell);
	g_free(address->keyfile);
	g_free(address->socket);
	g_free(address->netcat);
	g_free(address->command);
	if (address->shared)
		unlink(address->shared); /* ssh does, if it is not killed */
	g_free(address->shared);
	g_free(address);
}
