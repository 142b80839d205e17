/* SPDX-License-Identifier: Apache-2.0 */
/* Top-level elements: heads of sections and their footers, end of file, vmdescription. */
#include <string.h>
#include "base/i18n.h"
#include "stream/internal.h"

/* Whose payload is understood. Only ram stands under its bare name; the others may have a device
 * path before it ("0000:00:03.0/vfio"). */
struct section_type {
	const char *name;
	enum element element;
	uint32_t version;
	enum state payload;
};

static const struct section_type section_types[] = {
	{ "ram", ELEMENT_START, 4, STATE_RAM },
	{ "dirty-bitmap", ELEMENT_START, 1, STATE_DIRTY_BITMAP },
	{ "vfio", ELEMENT_START, 1, STATE_VFIO },
	{ "virtio-mem-device-early", ELEMENT_FULL, 1, STATE_VIRTIO_MEM },
};

static bool type_matches(const struct section_type *type, const uint8_t *name, size_t length)
{
	size_t want = strlen(type->name);
	if (length < want || memcmp(name + length - want, type->name, want))
		return false;
	return length == want || (type->payload != STATE_RAM && name[length - want - 1] == '/');
}

static const struct section_type *type_find(enum element element, const uint8_t *name,
					    size_t length, uint32_t version)
{
	for (size_t i = 0; i < sizeof(section_types) / sizeof(section_types[0]); i++) {
		const struct section_type *type = &section_types[i];
		if (type->element == element && type->version == version &&
		    type_matches(type, name, length))
			return type;
	}
	return NULL;
}

static struct section *section_find(struct stream_reader *reader, uint32_t id)
{
	for (uint32_t i = 0; i < reader->section_count; i++)
		if (reader->sections[i].id == id)
			return &reader->sections[i];
	return NULL;
}

/* START, and the one FULL section that may come before the end of ram. */
static enum step named_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			    struct stream_record *record)
{
	if (length < 6)
		return step_more(reader, 6);
	uint32_t id = be_get32(bytes + 1);
	size_t head = 6 + bytes[5] + 8;
	if (length < head)
		return step_more(reader, head);
	const struct section_type *type =
		type_find(bytes[0], bytes + 6, bytes[5], be_get32(bytes + head - 4));
	if (!type)
		return step_opaque(reader,
				   bytes[0] == ELEMENT_START
					   ? N_("a section not known here comes in parts")
					   : N_("a device state section before the end of ram"));
	if (bytes[0] == ELEMENT_START) {
		if (section_find(reader, id))
			return step_opaque(reader, N_("a section begins twice"));
		if (reader->section_count == STREAM_SECTIONS_MAX)
			return step_opaque(reader, N_("more sections than the reader keeps"));
		reader->sections[reader->section_count++] =
			(struct section){ .id = id, .payload = type->payload };
	}
	reader->section_id = record->value = id;
	return step_record(reader, record, STREAM_SECTION, head, type->payload);
}

static enum step part_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	if (length < 5)
		return step_more(reader, 5);
	uint32_t id = be_get32(bytes + 1);
	struct section *section = section_find(reader, id);
	if (!section || section->ended)
		return step_opaque(reader, N_("a part of a section that is not open"));
	if (bytes[0] == ELEMENT_END) {
		section->ended = true;
		if (section->payload == STATE_RAM)
			reader->stats.stopped = reader->ram.new_pass = true;
	}
	reader->section_id = record->value = id;
	return step_record(reader, record, STREAM_SECTION, 5, section->payload);
}

enum step element_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		       struct stream_record *record)
{
	switch ((enum element) bytes[0]) {
	case ELEMENT_COMMAND:
		return command_read(reader, bytes, length, record);
	case ELEMENT_PART:
	case ELEMENT_END:
		return part_read(reader, bytes, length, record);
	case ELEMENT_FULL:
		if (reader->stats.stopped)
			return step_again(reader, STATE_DEVICE_STATE);
		return named_read(reader, bytes, length, record);
	case ELEMENT_START:
		return named_read(reader, bytes, length, record);
	case ELEMENT_EOF:
		return step_record(reader, record, STREAM_EOF, 1, STATE_DESCRIPTION);
	default:
		return step_opaque(reader, N_("an element not known here"));
	}
}

/* Whether footers are sent shows at the end of the first section. */
enum step footer_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		      struct stream_record *record)
{
	if (reader->footers == FOOTERS_ABSENT)
		return step_again(reader, STATE_ELEMENT);
	if (bytes[0] != ELEMENT_FOOTER) {
		if (reader->footers == FOOTERS_SENT)
			return step_opaque(reader, N_("a section does not end where it should"));
		reader->footers = FOOTERS_ABSENT;
		return step_again(reader, STATE_ELEMENT);
	}
	if (length < 5)
		return step_more(reader, 5);
	if (be_get32(bytes + 1) != reader->section_id)
		return step_opaque(reader, N_("the footer of another section"));
	reader->footers = FOOTERS_SENT;
	record->value = reader->section_id;
	return step_record(reader, record, STREAM_FOOTER, 5, STATE_ELEMENT);
}

/* After EOF: the description or nothing. */
enum step description_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	if (bytes[0] != ELEMENT_DESCRIPTION || reader->stats.records[STREAM_DESCRIPTION])
		return step_opaque(reader, N_("bytes after the end of the stream"));
	if (length < 5)
		return step_more(reader, 5);
	enum state next =
		blob_begin(reader, be_get32(bytes + 1), STREAM_DESCRIPTION, STATE_DESCRIPTION);
	return step_record(reader, record, STREAM_DESCRIPTION, 5, next);
}
