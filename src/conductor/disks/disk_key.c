/* SPDX-License-Identifier: Apache-2.0 */
/* Passphrases of encrypted disks. See disk_key.h. */
#include "conductor/disks/disk_key.h"

#include "base/i18n.h"

#include <libvirt/libvirt.h>

bool disk_key_read(struct move *move, const struct move_disk *disk, struct image_key *key,
		   GError **error)
{
	const struct disk *facts = disk->disk;
	virConnectPtr connection = move->hosts[MOVE_SOURCE]->connection;
	virSecretPtr secret = NULL;
	*key = (struct image_key){ 0 };
	if (facts->secret && facts->secret_by_usage)
		secret = virSecretLookupByUsage(connection, VIR_SECRET_USAGE_TYPE_VOLUME,
						facts->secret);
	else if (facts->secret)
		secret = virSecretLookupByUUIDString(connection, facts->secret);
	if (secret)
		key->bytes = virSecretGetValue(secret, &key->length, 0);
	if (secret)
		virSecretFree(secret);
	if (key->bytes)
		return true;
	g_autofree char *prefix =
		g_strdup_printf(_("the passphrase of the encrypted disk %s cannot be read at the "
				  "source"),
				facts->target);
	return host_error(error, WATARI_ERROR_REFUSED,
			  _("Move the VM while it is off (--offline), which copies what is "
			    "encrypted as it is; or put the disk on shared storage."),
			  prefix);
}
