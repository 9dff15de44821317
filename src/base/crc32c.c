/*
 * CRC32C over ISA-L's crc32_iscsi, which works on the raw register: the customary complement before
 * and after is done here, so that calls chain and the value is the one other tools compute.
 */
#include "base/crc32c.h"

#include <isa-l/crc.h>

/* crc32_iscsi takes an int for the length (bytes). */
#define CRC_CHUNK_MAX (UINT64_C(1) << 30)

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	/* The library's prototype lacks the const; it only reads. */
	unsigned char *p = (unsigned char *)(uintptr_t)data;
	uint32_t reg = ~crc;

	ASSERT(data != NULL || len == 0);
	while (len > 0) {
		size_t chunk = u64_min(len, CRC_CHUNK_MAX);

		reg = crc32_iscsi(p, (int)chunk, reg);
		p += chunk;
		len -= chunk;
	}
	return ~reg;
}
