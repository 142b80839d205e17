/* SPDX-License-Identifier: Apache-2.0 */
/* Sends gratuitous ARP and the like on the guest's bridge. */
#include "mover/chores/announce.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "control/messages.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
	GUESTS_MAX = 64,
	TIMES = 5, /* as QEMU: 50 ms, then 150, 250, ... between them */
};

struct rarp {
	uint8_t to[6], from[6];
	uint16_t ethertype;
	uint16_t hardware, protocol;
	uint8_t hardware_length, protocol_length;
	uint16_t operation;
	uint8_t sender_hardware[6], sender_protocol[4], target_hardware[6], target_protocol[4];
	uint8_t padding[18]; /* to the smallest Ethernet frame, 60 bytes */
} __attribute__((packed));
_Static_assert(sizeof(struct rarp) == 60, "an Ethernet frame");

static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned b[6];
	char rest;
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &rest) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t) b[i];
	return true;
}

/* The bridge that TAP is a port of; TAP itself if it is none (macvtap, a plain tap). */
static unsigned find_bridge(const char *tap)
{
	g_autofree char *path = g_strdup_printf("/sys/class/net/%s/master", tap);
	g_autofree char *target = g_file_read_link(path, NULL);
	g_autofree char *bridge = target ? g_path_get_basename(target) : g_strdup(tap);
	return if_nametoindex(bridge);
}

/* "This address is behind this port": a dynamic entry of the bridge's forwarding table. */
static void teach_bridge(unsigned tap_index, const uint8_t mac[6])
{
	struct {
		struct nlmsghdr header;
		struct ndmsg neighbour;
		struct rtattr attribute;
		uint8_t mac[6], padding[2];
	} request = {
		.header = { .nlmsg_len = sizeof(request) - 2,
			    .nlmsg_type = RTM_NEWNEIGH,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE },
		.neighbour = { .ndm_family = AF_BRIDGE,
			       .ndm_ifindex = (int) tap_index,
			       .ndm_state = NUD_REACHABLE,
			       .ndm_flags = NTF_MASTER },
		.attribute = { .rta_len = RTA_LENGTH(6), .rta_type = NDA_LLADDR },
	};
	memcpy(request.mac, mac, 6);
	FD_AUTO int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	/* A bridge that is not the kernel's (Open vSwitch) refuses; the RARP teaches it as well. */
	if (fd >= 0 && send(fd, &request, request.header.nlmsg_len, 0) < 0)
		g_debug("bridge table: %s", g_strerror(errno));
}

static bool send_rarp(unsigned index, const uint8_t mac[6])
{
	struct rarp rarp = { .ethertype = htons(ETH_P_RARP),
			     .hardware = htons(1),
			     .protocol = htons(ETH_P_IP),
			     .hardware_length = 6,
			     .protocol_length = 4,
			     .operation = htons(3) };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_RARP),
				  .sll_ifindex = (int) index,
				  .sll_halen = 6 };
	memset(rarp.to, 0xff, 6);
	memset(to.sll_addr, 0xff, 6);
	memcpy(rarp.from, mac, 6);
	memcpy(rarp.sender_hardware, mac, 6);
	memcpy(rarp.target_hardware, mac, 6);
	FD_AUTO int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	return fd >= 0 && sendto(fd, &rarp, sizeof(rarp), 0, (struct sockaddr *) &to, sizeof(to)) ==
				  (ssize_t) sizeof(rarp);
}

static bool announce_guest(const char *tap, const char *mac_text, GError **error)
{
	uint8_t mac[6];
	unsigned tap_index = if_nametoindex(tap), bridge = tap_index ? find_bridge(tap) : 0;
	if (!bridge || !parse_mac(mac_text, mac))
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("cannot announce %s at %s: no such device or address"), mac_text,
				 tap);
	if (bridge != tap_index)
		teach_bridge(tap_index, mac);
	if (!send_rarp(bridge, mac))
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("cannot announce %s at %s: %s"), mac_text, tap,
				 g_strerror(errno));
	return true;
}

struct announcement {
	char *tap, *mac;
	int sent;
};

static void announcement_free(void *data)
{
	struct announcement *a = data;
	g_free(a->tap);
	g_free(a->mac);
	g_free(a);
}

static gboolean announce_again(void *data)
{
	struct announcement *a = data;
	g_autoptr(GError) error = NULL;
	if (!announce_guest(a->tap, a->mac, &error))
		g_debug("%s", error->message);
	if (++a->sent >= TIMES)
		return G_SOURCE_REMOVE;
	struct announcement *next = g_new0(struct announcement, 1);
	*next = (struct announcement){ g_strdup(a->tap), g_strdup(a->mac), a->sent };
	g_timeout_add_full(G_PRIORITY_DEFAULT, (guint) (100 * a->sent - 50), announce_again, next,
			   announcement_free);
	return G_SOURCE_REMOVE;
}

JsonObject *announce_do(JsonObject *message)
{
	JsonArray *guests = json_get_array(message, "interfaces");
	JsonObject *answer = json_object_new();
	guint count = 0;
	for (guint i = 0; guests && i < MIN(json_array_get_length(guests), GUESTS_MAX); i++) {
		JsonNode *node = json_array_get_element(guests, i);
		JsonObject *guest =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		const char *tap = guest ? json_get_string(guest, "device", NULL) : NULL;
		const char *mac = guest ? json_get_string(guest, "mac", NULL) : NULL;
		g_autoptr(GError) failed = NULL;
		if (!tap || !mac || !announce_guest(tap, mac, &failed))
			continue;
		count++;
		struct announcement *next = g_new0(struct announcement, 1);
		*next = (struct announcement){ g_strdup(tap), g_strdup(mac), 1 };
		g_timeout_add_full(G_PRIORITY_DEFAULT, 50, announce_again, next, announcement_free);
	}
	json_object_set_string_member(answer, MESSAGE_TYPE, MESSAGE_ANNOUNCED);
	json_object_set_int_member(answer, "count", count);
	return answer;
}
