/*
 * CRC32C (Castagnoli, RFC 3720): the checksum of messages, log records and objects.
 */
#ifndef NACRE_BASE_CRC32C_H
#define NACRE_BASE_CRC32C_H

#include "base/base.h"

/* The checksum of what `crc` is the checksum of, followed by these bytes; start with 0.
 * crc32c(0, "123456789", 9) == 0xE3069283. data may be NULL if len is 0. Pure: thread-safe. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
