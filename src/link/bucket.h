/* SPDX-License-Identifier: Apache-2.0 */
/* The bandwidth cap: one token bucket for all lanes.
 *
 * Tokens are bytes on the wire: what the socket is given, times BUCKET_OVERHEAD for the Ethernet,
 * IP and TCP headers of full segments (14 + 20 + 20 + 12 bytes of timestamps for each 1448). A lane
 * may send while the balance is positive and pays afterwards what it really wrote, so the balance
 * can go below zero by one write. It never holds more than BUCKET_BURST_US of the rate: bursts stay
 * short.
 *
 * The caller holds a lock.
 */
#pragma once
#include <stdint.h>

#define BUCKET_OVERHEAD ((1448.0 + 66.0) / 1448.0)
#define BUCKET_BURST_US 20000

struct bucket {
	uint64_t rate; /* bytes a second, 0: no cap */
	double tokens;
	int64_t filled_us;
};

void bucket_set_rate(struct bucket *bucket, uint64_t rate, int64_t now_us);
/* How long to wait before a write may begin; 0: now. */
int64_t bucket_wait_us(struct bucket *bucket, int64_t now_us);
void bucket_pay(struct bucket *bucket, uint64_t socket_bytes);
