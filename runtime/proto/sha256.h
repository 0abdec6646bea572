/* SHA-256 (FIPS 180-4). */
#ifndef EDGEQ_SHA256_H
#define EDGEQ_SHA256_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { EQ_SHA256_BYTES = 32 };

typedef struct {
  uint32_t state[8];
  uint64_t count; /* bytes so far */
  uint8_t block[64];
} eq_sha256;

void eq_sha256_init(eq_sha256 *hash);
void eq_sha256_update(eq_sha256 *hash, const uint8_t *bytes, size_t count);
void eq_sha256_final(eq_sha256 *hash, uint8_t digest[EQ_SHA256_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
