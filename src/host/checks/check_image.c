/* SPDX-License-Identifier: Apache-2.0 */
/* What of an image does not go into a copy that is written anew: said before, not found out later. */
#include "host/checks/check.h"

#include "base/i18n.h"

void check_image_losses(GPtrArray *findings, const char *target, const struct image *image,
			bool off)
{
	/* from under a running VM libvirt takes them along */
	if (image->bitmaps && off) {
		g_autofree char *check = g_strdup_printf("bitmaps:%s", target);
		check_add(findings, check, CHECK_WARN,
			  _("Let the next backup be a full one, or put the disk on shared "
			    "storage."),
			  _("the dirty bitmaps of the disk %s (%s) do not go into its copy: "
			    "incremental backups end here"),
			  target, image->bitmaps);
	}
	if (image->data_file) {
		g_autofree char *check = g_strdup_printf("image:%s", target);
		check_add(findings, check, CHECK_WARN, NULL,
			  _("the content of the disk %s lies in a file of its own (%s): in the "
			    "copy it lies in the image itself"),
			  target, image->data_file);
	}
}
