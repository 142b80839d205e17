/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the destination in a VM's description. */
#include "host/mapping.h"
#include "host/xml.h"

static const char vm[] =
	"<domain><devices>"
	"<interface type='bridge'><source bridge='br-a'/></interface>"
	"<interface type='network'><source network='inner' portid='1' bridge='virbr0'/></interface>"
	"<interface type='direct'><source dev='eth0' mode='bridge'/></interface>"
	"<graphics type='vnc' port='5905' autoport='no' websocket='5700' listen='10.0.0.1'>"
	"<listen type='address' address='10.0.0.1'/></graphics>"
	"<graphics type='spice' port='5905' autoport='yes' listen='::1'/>"
	"<serial type='tcp'><source mode='bind' host='10.0.0.1' service='4555'/></serial>"
	"<serial type='tcp'><source mode='connect' host='10.0.0.1' service='4555'/></serial>"
	"</devices></domain>";

static const char *const networks[] = { "br-a=br-b", "inner=outer", "eth0=eno1", "br-a2=x", NULL };
static const char *const listens[] = { "10.0.0.1=fd00::2", "5905=5906", "4555=4556",
				       "::1=::", NULL };
static const struct mapping all = { networks, listens };

static void expect(struct xml *xml, const char *path, const char *value)
{
	g_autofree char *text = xml_string(xml, NULL, path);
	g_assert_cmpstr(text, ==, value);
}

static void test_adapted(void)
{
	g_autofree char *text = mapping_adapt_xml(&all, vm, NULL);
	struct xml *xml = xml_read(text, NULL);
	g_assert_nonnull(xml);
	expect(xml, "devices/interface[1]/source/@bridge", "br-b");
	expect(xml, "devices/interface[2]/source/@network", "outer");
	/* they belong to the network as it was joined at the source */
	expect(xml, "devices/interface[2]/source/@bridge", NULL);
	expect(xml, "devices/interface[2]/source/@portid", NULL);
	expect(xml, "devices/interface[3]/source/@dev", "eno1");
	expect(xml, "devices/graphics[1]/@listen", "fd00::2");
	expect(xml, "devices/graphics[1]/listen/@address", "fd00::2");
	expect(xml, "devices/graphics[1]/@port", "5906");
	expect(xml, "devices/graphics[1]/@websocket", "5700");
	expect(xml, "devices/graphics[2]/@port", "5905");
	expect(xml, "devices/graphics[2]/@listen", "::");
	expect(xml, "devices/serial[1]/source/@host", "fd00::2");
	expect(xml, "devices/serial[1]/source/@service", "4556");
	/* another host's, that it connects to */
	expect(xml, "devices/serial[2]/source/@host", "10.0.0.1");
	xml_free(xml);
}

static void test_unused(void)
{
	const char *const texts[] = { "<domain/>", vm, NULL };
	g_auto(GStrv) unused = mapping_unused(&all, texts, 3);
	g_assert_cmpint(g_strv_length(unused), ==, 1);
	g_assert_cmpstr(unused[0], ==, "br-a2=x");
}

static void test_words(void)
{
	static const char *const bad[] = { "br-a", "=br-b", "br-a=", "" };
	const struct mapping none = { NULL, NULL };
	g_assert_true(mapping_is_empty(&none) && mapping_is_empty(NULL) && !mapping_is_empty(&all));
	g_assert_true(mapping_check(&none, NULL) && mapping_check(&all, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		const char *const words[] = { "a=b", bad[i], NULL };
		const struct mapping mappings[] = { { words, NULL }, { NULL, words } };
		for (size_t j = 0; j < G_N_ELEMENTS(mappings); j++) {
			g_autoptr(GError) error = NULL;
			g_assert_false(mapping_check(&mappings[j], &error));
			g_assert_true(g_error_matches(error, WATARI_ERROR, WATARI_ERROR_USAGE));
		}
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mapping/adapted", test_adapted);
	g_test_add_func("/mapping/unused", test_unused);
	g_test_add_func("/mapping/words", test_words);
	return g_test_run();
}
