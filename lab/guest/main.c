/* SPDX-License-Identifier: Apache-2.0 */
/* guestd's start: everything is set up from the kernel command line, then the threads do the work.
 * See guestd.h. */
#include <signal.h>
#include <unistd.h>

#include "guestd.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	options_read();
	watch_start();
	memory_start();
	disk_start();
	echo_start();
	http_start();
	say("%s serves", option_text("name", "small"));
	for (;;)
		pause();
}
