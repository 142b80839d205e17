/* SPDX-License-Identifier: Apache-2.0 */
/* Which secrets a VM's description names. */
#include "host/secret.h"

static const char vm[] =
	"<domain><devices>"
	"<disk><source file='/a'><encryption format='luks'><secret type='passphrase' uuid='u-1'/>"
	"</encryption></source><target dev='vda'/></disk>"
	/* the same one again, as a key of the disk, and the older place for it */
	"<disk><source file='/b'/><target dev='vdb'/><encryption format='luks'>"
	"<secret type='passphrase' uuid='u-1'/></encryption></disk>"
	"<disk><source protocol='rbd'><auth username='x'><secret type='ceph' usage='ceph "
	"key'/></auth>"
	"</source><target dev='vdc'/></disk>"
	"<disk><source protocol='iscsi'/><auth username='x'><secret type='iscsi' "
	"uuid='u-2'/></auth>"
	"<target dev='vdd'/></disk>"
	"<hostdev><source protocol='iscsi'><auth username='x'><secret type='iscsi' "
	"usage='lun'/></auth>"
	"</source></hostdev>"
	"<tpm><backend type='emulator'><encryption secret='u-3'/></backend></tpm>"
	"</devices></domain>";

static const struct secret expected[] = {
	{ (char *) (uintptr_t) "u-1", (char *) (uintptr_t) "vda", true,
	  VIR_SECRET_USAGE_TYPE_VOLUME },
	{ (char *) (uintptr_t) "ceph key", (char *) (uintptr_t) "vdc", false,
	  VIR_SECRET_USAGE_TYPE_CEPH },
	{ (char *) (uintptr_t) "u-2", (char *) (uintptr_t) "vdd", true,
	  VIR_SECRET_USAGE_TYPE_ISCSI },
	{ (char *) (uintptr_t) "lun", NULL, false, VIR_SECRET_USAGE_TYPE_ISCSI },
	{ (char *) (uintptr_t) "u-3", NULL, true, VIR_SECRET_USAGE_TYPE_VTPM },
};

static void test_named(void)
{
	struct xml *xml = xml_read(vm, NULL);
	g_assert_nonnull(xml);
	g_autoptr(GPtrArray) secrets = secret_list(xml);
	g_assert_cmpuint(secrets->len, ==, G_N_ELEMENTS(expected));
	for (guint i = 0; i < secrets->len; i++) {
		const struct secret *secret = secrets->pdata[i];
		g_assert_cmpstr(secret->key, ==, expected[i].key);
		g_assert_cmpstr(secret->target, ==, expected[i].target);
		g_assert_cmpint(secret->by_uuid, ==, expected[i].by_uuid);
		g_assert_cmpint(secret->usage, ==, expected[i].usage);
	}
	xml_free(xml);
}

static void test_none(void)
{
	struct xml *xml = xml_read("<domain><devices><disk/></devices></domain>", NULL);
	g_autoptr(GPtrArray) secrets = secret_list(xml);
	g_assert_cmpuint(secrets->len, ==, 0);
	xml_free(xml);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/secret/named", test_named);
	g_test_add_func("/secret/none", test_none);
	return g_test_run();
}
