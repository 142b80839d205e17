/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a stream: magic, version, and the configuration with its subsections. */
#include <string.h>
#include "base/i18n.h"
#include "stream/internal.h"

#define STREAM_MAGIC 0x5145564dU /* "QEVM" */
#define STREAM_VERSION 3
#define MACHINE_NAME_MAX 4096
#define CAPABILITIES_MAX 64

/* After a broken post-copy QEMU goes on where it was, on a new connection: first it asks for what has
 * arrived (docs/qemu-stream.md, section 7). */
static bool is_resumed(const uint8_t *bytes)
{
	return bytes[0] == ELEMENT_COMMAND && be_get16(bytes + 1) == COMMAND_RECV_BITMAP;
}

enum step header_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		      struct stream_record *record)
{
	if (length < 8)
		return step_more(reader, 8);
	if (is_resumed(bytes)) {
		reader->stats.resumed = true;
		return step_again(reader, STATE_RESUMED);
	}
	if (be_get32(bytes) != STREAM_MAGIC)
		return step_opaque(reader, N_("it does not begin like a QEMU migration stream"));
	if (be_get32(bytes + 4) != STREAM_VERSION)
		return step_opaque(reader, N_("a version of the stream format not known here"));
	return step_record(reader, record, STREAM_HEADER, 8, STATE_CONFIGURATION);
}

/* Machine types before 2.4 send no configuration. */
enum step configuration_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			     struct stream_record *record)
{
	if (bytes[0] != ELEMENT_CONFIGURATION)
		return step_again(reader, STATE_ELEMENT);
	if (length < 5)
		return step_more(reader, 5);
	uint32_t name = be_get32(bytes + 1);
	if (name > MACHINE_NAME_MAX)
		return step_opaque(reader, N_("a machine name of impossible length"));
	if (length < 5 + name)
		return step_more(reader, 5 + name);
	return step_record(reader, record, STREAM_CONFIGURATION, 5 + name, STATE_SUBSECTION);
}

/* The bodies get what follows name and version, and the length of that head. They answer through
 * `length`: what must be seen (STEP_MORE) or what the whole subsection takes (STEP_RECORD). */
struct subsection {
	const char *name;
	enum step (*read)(struct stream_reader *reader, const uint8_t *bytes, size_t head,
			  size_t *length);
};

static enum step page_bits_read(struct stream_reader *reader, const uint8_t *bytes, size_t head,
				size_t *length)
{
	if (*length < head + 4)
		return step_more(reader, head + 4);
	uint32_t bits = be_get32(bytes + head);
	if (bits >= 32 || !is_page_size(1UL << bits))
		return step_opaque(reader, N_("a target page size not known here"));
	reader->page_bytes = 1U << bits;
	*length = head + 4;
	return STEP_RECORD;
}

static enum step uuid_read(struct stream_reader *reader, const uint8_t *bytes, size_t head,
			   size_t *length)
{
	if (*length < head + 16)
		return step_more(reader, head + 16);
	*length = head + 16;
	return STEP_RECORD;
}

static bool name_is(const uint8_t *name, size_t length, const char *text)
{
	return length == strlen(text) && !memcmp(name, text, length);
}

/* A capability is named here because it may change the format: one not known means opaque. */
static enum step capabilities_read(struct stream_reader *reader, const uint8_t *bytes, size_t head,
				   size_t *length)
{
	size_t at = head + 4;
	bool ignore_shared = false;
	if (*length < at)
		return step_more(reader, at);
	uint32_t count = be_get32(bytes + head);
	if (count > CAPABILITIES_MAX)
		return step_opaque(reader, N_("an impossible number of capabilities"));
	while (count--) {
		if (*length < at + 1)
			return step_more(reader, at + 1);
		size_t name = bytes[at];
		if (*length < at + 1 + name)
			return step_more(reader, at + 1 + name);
		if (!name_is(bytes + at + 1, name, "x-ignore-shared"))
			return step_opaque(reader, N_("a migration capability not known here"));
		ignore_shared = true;
		at += 1 + name;
	}
	reader->ignore_shared |= ignore_shared;
	*length = at;
	return STEP_RECORD;
}

static const struct subsection subsections[] = {
	{ "configuration/target-page-bits", page_bits_read },
	{ "configuration/capabilities", capabilities_read },
	{ "configuration/uuid", uuid_read },
};

static const struct subsection *subsection_find(const uint8_t *name, size_t length)
{
	for (size_t i = 0; i < sizeof(subsections) / sizeof(subsections[0]); i++)
		if (name_is(name, length, subsections[i].name))
			return &subsections[i];
	return NULL;
}

enum step subsection_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			  struct stream_record *record)
{
	if (bytes[0] != ELEMENT_SUBSECTION)
		return step_again(reader, STATE_ELEMENT);
	if (length < 2)
		return step_more(reader, 2);
	size_t head = 2 + bytes[1] + 4;
	if (length < head)
		return step_more(reader, head);
	const struct subsection *subsection = subsection_find(bytes + 2, bytes[1]);
	if (!subsection || be_get32(bytes + head - 4) != 1)
		return step_opaque(reader, N_("a subsection of the configuration not known here"));
	enum step step = subsection->read(reader, bytes, head, &length);
	if (step != STEP_RECORD)
		return step;
	return step_record(reader, record, STREAM_CONFIGURATION, length, STATE_SUBSECTION);
}
