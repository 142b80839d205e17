// SPDX-License-Identifier: Apache-2.0
/*
 * packet-delay: a switch of tap devices that hands every frame on a fixed time after it came in.
 *
 * The lab's stand-in for the netem queueing discipline, which not every kernel has. It works on
 * frames, so everything that crosses it (TCP's handshakes, acknowledgements and retransmissions,
 * ARP) is late by the same time, as on a long cable. The taps carry virtio-net headers with
 * checksum and segmentation offload, so a TCP burst of 64 KiB crosses in one read and one write.
 *
 * Usage: packet-delay [--queue-mib N] TAP...
 * Creates the taps, which vanish with it, then reads commands from stdin, one a line, and answers
 * "ok" or "error TEXT":
 *   delay MICROSECONDS  how long frames are held
 *   corrupt N           flip a bit in every Nth TCP segment that carries data, in a way that no
 *                       checksum of the network notices; 0 (the default): none
 *   corrupted           answered by "ok COUNT": segments spoiled so far
 * It ends at the end of stdin.
 *
 * Theory of operation: one thread. Each port has a ring of bytes with the frames that came in
 * there, each with the time it is due; the delay is the same for all, so the oldest frame of a ring
 * is always the next one. The rings are bounded: what does not fit is dropped, as a real queue
 * does. Which port a frame leaves by is learnt from source addresses; unknown and group addresses
 * go to all others.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_PORTS = 32,
	MAX_FRAME = sizeof(struct virtio_net_hdr) + 14 + 4 + 65536,
	HEADER = sizeof(struct virtio_net_hdr),
	BATCH = 64,    /* frames taken from a port before the others get their turn */
	LEARNT = 1024, /* slots of the address table, a power of two */
	DEFAULT_QUEUE_MIB = 64,
};

struct frame {
	uint64_t due_ns;
	uint32_t length; /* of the bytes behind this header; 0: the next frame is at the ring's
			    start */
	uint32_t unused;
};

struct port {
	const char *name;
	int fd;
	uint8_t *ring;
	size_t size;
	size_t head; /* where the next frame is put */
	size_t tail; /* where the oldest frame is */
	uint64_t last_due_ns;
	uint64_t dropped;
};

struct learnt {
	uint8_t address[6];
	int8_t port; /* -1: free */
};

static struct port ports[MAX_PORTS];
static int port_count;
static struct learnt table[LEARNT];
static uint64_t delay_ns;
static uint64_t corrupt_every, corrupt_seen, corrupted;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

static int fail(const char *what)
{
	fprintf(stderr, "packet-delay: %s: %s\n", what, strerror(errno));
	return -1;
}

static int port_open(struct port *port, const char *name, size_t size)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	if (strlen(name) >= sizeof(request.ifr_name)) {
		errno = ENAMETOOLONG;
		return fail(name);
	}
	strcpy(request.ifr_name, name);
	port->name = name;
	port->size = size;
	port->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port->fd < 0)
		return fail("/dev/net/tun");
	if (ioctl(port->fd, TUNSETIFF, &request) < 0)
		return fail(name);
	if (ioctl(port->fd, TUNSETOFFLOAD, offloads) < 0)
		return fail("TUNSETOFFLOAD");
	port->ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return port->ring == MAP_FAILED ? fail("mmap") : 0;
}

/* ---- addresses ---- */

static unsigned address_slot(const uint8_t *address)
{
	unsigned hash = 2166136261u;

	for (int i = 0; i < 6; i++)
		hash = (hash ^ address[i]) * 16777619u;
	return hash & (LEARNT - 1);
}

/* A newcomer takes over its slot: at worst a frame is flooded that need not be. */
static void learn(const uint8_t *address, int port)
{
	struct learnt *slot = &table[address_slot(address)];

	memcpy(slot->address, address, sizeof(slot->address));
	slot->port = (int8_t) port;
}

static int port_of(const uint8_t *address)
{
	const struct learnt *slot = &table[address_slot(address)];

	if ((address[0] & 1) || memcmp(slot->address, address, sizeof(slot->address)) != 0)
		return -1;
	return slot->port;
}

/* ---- rings ---- */

static size_t record_size(size_t length)
{
	return (sizeof(struct frame) + length + 15) & ~(size_t) 15;
}

/*
 * Room for a frame of the largest size, or NULL when the ring is full. head == tail means empty, so
 * a ring is never filled to the last byte.
 */
static struct frame *ring_reserve(struct port *port)
{
	size_t need = record_size(MAX_FRAME) + sizeof(struct frame);

	if (port->head == port->tail)
		port->head = port->tail = 0; /* the same bytes again are still in the CPU's cache */
	if (port->head >= port->tail) {
		if (port->size - port->head >= need)
			return (struct frame *) (port->ring + port->head);
		if (port->tail <= need)
			return NULL;
		((struct frame *) (port->ring + port->head))->length = 0;
		port->head = 0;
	}
	if (port->tail - port->head <= need)
		return NULL;
	return (struct frame *) (port->ring + port->head);
}

static void ring_commit(struct port *port, struct frame *frame, size_t length)
{
	uint64_t due = now_ns() + delay_ns;

	/* A delay that has just been made shorter must not let frames overtake. */
	if (due < port->last_due_ns)
		due = port->last_due_ns;
	port->last_due_ns = due;
	frame->due_ns = due;
	frame->length = (uint32_t) length;
	port->head += record_size(length);
}

static struct frame *ring_oldest(struct port *port)
{
	struct frame *frame = (struct frame *) (port->ring + port->tail);

	if (port->tail == port->head)
		return NULL;
	if (frame->length != 0)
		return frame;
	port->tail = 0;
	return port->tail == port->head ? NULL : (struct frame *) port->ring;
}

/* ---- spoiling ---- */

/*
 * The TCP header of a frame of IPv4, or NULL; *data and *length get its payload. What the headers
 * say is believed only as far as the frame goes.
 */
static uint8_t *find_tcp(uint8_t *bytes, size_t length, uint8_t **data, size_t *data_length)
{
	uint8_t *ip = bytes + HEADER + 14;
	size_t ip_length, header, tcp_header;

	if (length < HEADER + 14 + 40 || bytes[HEADER + 12] != 0x08 || bytes[HEADER + 13] != 0x00)
		return NULL;
	header = (size_t) (ip[0] & 15) * 4;
	ip_length = (size_t) ip[2] << 8 | ip[3];
	if (ip[0] >> 4 != 4 || ip[9] != 6 || header < 20 || ip_length > length - HEADER - 14 ||
	    ip_length < header + 20)
		return NULL;
	tcp_header = (size_t) (ip[header + 12] >> 4) * 4;
	if (tcp_header < 20 || ip_length < header + tcp_header)
		return NULL;
	*data = ip + header + tcp_header;
	*data_length = ip_length - header - tcp_header;
	return ip + header;
}

/* RFC 1624: the checksum after one 16-bit word of the segment changed. */
static void mend_checksum(uint8_t *checksum, unsigned old_word, unsigned new_word)
{
	unsigned sum = ~((unsigned) checksum[0] << 8 | checksum[1]) & 0xffff;

	sum += (~old_word & 0xffff) + new_word;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	checksum[0] = (uint8_t) (~sum >> 8);
	checksum[1] = (uint8_t) ~sum;
}

/*
 * As a broken switch or memory does it: a bit changes in the middle of the payload and the checksum
 * agrees. Where the sender left the checksum to the hardware it is made later, over what is there.
 */
static void corrupt(uint8_t *bytes, size_t length)
{
	const struct virtio_net_hdr *offload = (const struct virtio_net_hdr *) bytes;
	uint8_t *data, *tcp, *word;
	size_t data_length;
	unsigned old_word;

	if (!corrupt_every)
		return;
	tcp = find_tcp(bytes, length, &data, &data_length);
	if (!tcp || data_length < 8 || ++corrupt_seen % corrupt_every)
		return;
	word = tcp + (((size_t) (data - tcp) + data_length / 2) & ~(size_t) 1);
	old_word = (unsigned) word[0] << 8 | word[1];
	word[1] ^= 0x04;
	if (!(offload->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		mend_checksum(tcp + 16, old_word, (unsigned) word[0] << 8 | word[1]);
	corrupted++;
}

/* ---- the way of a frame ---- */

static void drop_one(struct port *port)
{
	static uint8_t waste[MAX_FRAME];

	if (read(port->fd, waste, sizeof(waste)) > 0)
		port->dropped++;
}

static void port_receive(int index)
{
	struct port *port = &ports[index];

	for (int i = 0; i < BATCH; i++) {
		struct frame *frame = ring_reserve(port);
		uint8_t *bytes = (uint8_t *) (frame + 1);
		ssize_t got;

		if (!frame) {
			drop_one(port);
			return;
		}
		got = read(port->fd, bytes, MAX_FRAME);
		if (got < 0)
			return;
		if (got < HEADER + 14)
			continue;
		learn(bytes + HEADER + 6, index);
		corrupt(bytes, (size_t) got);
		ring_commit(port, frame, (size_t) got);
	}
}

/* A frame the kernel does not take is lost, as frames are. */
static void frame_send(int from, const struct frame *frame)
{
	const uint8_t *bytes = (const uint8_t *) (frame + 1);
	int to = port_of(bytes + HEADER);

	for (int i = 0; i < port_count; i++) {
		if (i == from || (to >= 0 && i != to))
			continue;
		if (write(ports[i].fd, bytes, frame->length) < 0)
			ports[i].dropped++;
	}
}

/* Hands on what is due at a port; the time of its next frame, UINT64_MAX when there is none. */
static uint64_t port_deliver(int index)
{
	struct port *port = &ports[index];
	struct frame *frame;
	uint64_t now = now_ns();

	while ((frame = ring_oldest(port)) != NULL) {
		if (frame->due_ns > now && frame->due_ns > (now = now_ns()))
			return frame->due_ns;
		frame_send(index, frame);
		port->tail += record_size(frame->length);
	}
	return UINT64_MAX;
}

/* ---- commands ---- */

/* One line from stdin; false at its end. */
static bool command(void)
{
	static char line[256];
	unsigned long long number;

	if (!fgets(line, sizeof(line), stdin))
		return false;
	if (sscanf(line, "delay %llu", &number) == 1 && number <= 60000000) {
		delay_ns = number * 1000;
		puts("ok");
	} else if (sscanf(line, "corrupt %llu", &number) == 1) {
		corrupt_every = number;
		puts("ok");
	} else if (strcmp(line, "corrupted\n") == 0) {
		printf("ok %llu\n", (unsigned long long) corrupted);
	} else {
		puts("error: the commands are: delay MICROSECONDS (0 to 60000000), corrupt N, "
		     "corrupted");
	}
	fflush(stdout);
	return true;
}

static void wait_for_work(struct pollfd *polled, uint64_t next_ns)
{
	struct timespec left = { 0, 0 };
	uint64_t now = now_ns();

	if (next_ns != UINT64_MAX && next_ns > now) {
		left.tv_sec = (time_t) ((next_ns - now) / 1000000000);
		left.tv_nsec = (long) ((next_ns - now) % 1000000000);
	}
	if (ppoll(polled, (nfds_t) port_count + 1, next_ns == UINT64_MAX ? NULL : &left, NULL) < 0)
		fail("ppoll");
}

static void serve(void)
{
	struct pollfd polled[MAX_PORTS + 1];

	for (int i = 0; i < port_count; i++)
		polled[i] = (struct pollfd){ .fd = ports[i].fd, .events = POLLIN };
	polled[port_count] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
	for (;;) {
		uint64_t next_ns = UINT64_MAX;

		for (int i = 0; i < port_count; i++) {
			uint64_t due_ns = port_deliver(i);

			if (due_ns < next_ns)
				next_ns = due_ns;
		}
		wait_for_work(polled, next_ns);
		for (int i = 0; i < port_count; i++)
			if (polled[i].revents)
				port_receive(i);
		if (polled[port_count].revents && !command())
			return;
	}
}

/* Timely delivery on a busy machine; without the right to it we are merely less exact. */
static void be_prompt(void)
{
	struct sched_param priority = { .sched_priority = 2 };

	prctl(PR_SET_TIMERSLACK, 1UL);
	if (sched_setscheduler(0, SCHED_RR, &priority) < 0)
		fail("real-time priority not available, going on without");
}

int main(int argc, char **argv)
{
	size_t queue_mib = DEFAULT_QUEUE_MIB;
	int first = 1;

	if (argc > 2 && strcmp(argv[1], "--queue-mib") == 0) {
		queue_mib = strtoul(argv[2], NULL, 10);
		first = 3;
	}
	if (argc - first < 2 || argc - first > MAX_PORTS || queue_mib < 1 || queue_mib > 65536) {
		fprintf(stderr, "Usage: packet-delay [--queue-mib N] TAP TAP...\n");
		return 2;
	}
	for (int i = 0; i < LEARNT; i++)
		table[i].port = -1;
	setvbuf(stdin, NULL, _IONBF, 0);
	for (; first < argc; first++, port_count++)
		if (port_open(&ports[port_count], argv[first], queue_mib << 20) < 0)
			return 1;
	be_prompt();
	serve();
	return 0;
}
