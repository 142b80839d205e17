/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of QEMU's mirrors, and their end. */
#include "mover/disks/disk_source_internal.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/wait.h"
#include "mover/core/qemu_socket.h"
#include "mover/core/peer_process.h"

#include <string.h>
#include <sys/socket.h>

#define REQUESTS_MAX 64
#define BYTES_MAX (4 << 20) /* payloads of one connection's requests */

/* ---- connections ---- */

/* The first connection opens all disks: from there on the destination's QEMU is known to be there. */
static bool open_disks(struct disk_source *source)
{
	pthread_mutex_lock(&source->lock);
	bool first = !source->opening;
	source->opening = true;
	pthread_mutex_unlock(&source->lock);
	const struct disk_order order = { .op = DISK_OPEN };
	if (first && !disk_requests_send(source, &order, NULL))
		return false;
	pthread_mutex_lock(&source->lock);
	while (!source->open && !source->broken)
		pthread_cond_wait(&source->changed, &source->lock);
	bool open = source->open && !source->broken;
	pthread_mutex_unlock(&source->lock);
	return open;
}

static void *session_thread(void *data)
{
	struct session *session = data;
	struct disk_source *source = session->source;
	g_autoptr(GError) error = NULL;
	const struct nbd_server server = { .exports = source->exports,
					   .export_count = source->transfer->disks->count,
					   .bytes_max = BYTES_MAX,
					   .requests_max = REQUESTS_MAX,
					   .handle = disk_requests_handle,
					   .data = source };
	if (open_disks(source) && !nbd_serve(session->fd, &server, &error))
		g_debug("QEMU's connection for a disk ended: %s", error ? error->message : "?");
	shutdown(session->fd, SHUT_RDWR);
	return NULL;
}

static bool begin_session(struct disk_source *source, int fd)
{
	pthread_mutex_lock(&source->lock);
	bool good = !source->broken && source->session_count < SESSIONS_MAX;
	struct session *session = &source->sessions[source->session_count];
	if (good) {
		*session = (struct session){ .source = source, .fd = fd };
		good = pthread_create(&session->thread, NULL, session_thread, session) == 0;
		source->session_count += good;
	}
	pthread_mutex_unlock(&source->lock);
	return good;
}

static void *accept_thread(void *data)
{
	struct transfer *transfer = data;
	struct disk_source *source = transfer->disk_source;
	int fd;
	while ((fd = qemu_socket_accept(transfer->disk_listener, peer_is_qemu, transfer->settings,
					NULL)) >= 0)
		if (!begin_session(source, fd))
			close(fd);
	disk_source_break(source);
	for (unsigned i = 0; i < source->session_count; i++)
		pthread_join(source->sessions[i].thread, NULL);
	pthread_mutex_lock(&source->lock);
	while (source->session_count > 0)
		close(source->sessions[--source->session_count].fd);
	pthread_mutex_unlock(&source->lock);
	return transfer_thread_ends(transfer);
}

/* ---- life ---- */

struct disk_source *disk_source_start(struct transfer *transfer, GError **error)
{
	struct disk_source *source = transfer->disk_source = g_new0(struct disk_source, 1);
	source->transfer = transfer;
	source->fold = tag_context_new(transfer->settings->key, "digest");
	source->waiting = g_ptr_array_new();
	source->rate = transfer->disks->rate;
	pthread_mutex_init(&source->lock, NULL);
	wait_cond_init(&source->changed);
	return transfer_spawn(transfer, accept_thread, error) &&
			       transfer_spawn(transfer, disk_answers_thread, error)
		       ? source
		       : NULL;
}

void disk_source_judge(struct disk_source *source)
{
	if (source)
		sorter_use_disks(source->transfer->sorter,
				 reading_pays(&source->reading, clock_now_us()));
}

void disk_source_set_rate(struct disk_source *source, uint64_t rate)
{
	pthread_mutex_lock(&source->lock);
	source->rate = rate;
	source->due_us = 0;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

void disk_source_break(struct disk_source *source)
{
	if (!source)
		return;
	shutdown(source->transfer->disk_listener, SHUT_RDWR);
	pthread_mutex_lock(&source->lock);
	source->broken = true;
	pthread_cond_broadcast(&source->changed);
	for (unsigned i = 0; i < source->session_count; i++)
		shutdown(source->sessions[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&source->lock);
}

void disk_source_free(struct disk_source *source)
{
	if (!source)
		return;
	disk_answers_fail(source);
	g_ptr_array_unref(source->waiting);
	tag_context_free(source->fold);
	pthread_cond_destroy(&source->changed);
	pthread_mutex_destroy(&source->lock);
	g_free(source);
}

JsonArray *disk_source_describe(struct disk_source *source)
{
	struct transfer *transfer = source->transfer;
	JsonArray *list = json_array_new();
	pthread_mutex_lock(&transfer->sorting);
	pthread_mutex_lock(&source->lock);
	for (unsigned i = 0; i < transfer->disks->count; i++) {
		const struct sorter_disk_counts *counts = sorter_disk_counts(transfer->sorter, i);
		JsonObject *disk = json_object_new();
		json_object_set_string_member(disk, "target", transfer->disks->disks[i].target);
		const struct {
			const char *name;
			uint64_t value;
		} numbers[] = {
			{ "size", source->exports[i].size },
			{ "written", source->written[i] },
			{ "zeroed", source->zeroed[i] },
			{ "zero", counts->zero * BATCH_DISK_BLOCK },
			{ "same", counts->same * BATCH_DISK_BLOCK },
			{ "reference", counts->reference * BATCH_DISK_BLOCK },
			{ "literal", counts->literal * BATCH_DISK_BLOCK },
			{ "flushes", source->flushes[i] },
			{ "asked", source->asked },
		};
		for (size_t n = 0; n < G_N_ELEMENTS(numbers); n++)
			json_object_set_int_member(disk, numbers[n].name,
						   (gint64) numbers[n].value);
		json_array_add_object_element(list, disk);
	}
	pthread_mutex_unlock(&source->lock);
	pthread_mutex_unlock(&transfer->sorting);
	return list;
}
