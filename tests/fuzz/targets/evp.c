/* A packet of any size and header sealed in memory of exactly its room: the header as it was, the rest opens
 * again under the same index and under no other, and nothing is written past the tag. */
#include "evp.h"

#include <openssl/evp.h>

#include "claim.h"

/* Opens what evp_seal made; 1 when the tag is right. */
static int opens(const uint8_t *key, const uint8_t *salt, uint8_t *packet, uint32_t header, uint32_t size,
                 uint64_t index) {
    uint8_t iv[EVP_SALT] = {0};
    int done = 0;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    memcpy(iv + 2, packet + 8, 4);
    store32(iv + 6, (uint32_t)(index >> 16));
    store16(iv + 10, (uint32_t)index & 0xffff);
    for (uint32_t i = 0; i < EVP_SALT; i++) iv[i] ^= salt[i];
    int ok = EVP_DecryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, iv) == 1 &&
             EVP_DecryptUpdate(context, NULL, &done, packet, (int)header) == 1 &&
             EVP_DecryptUpdate(context, packet + header, &done, packet + header, (int)(size - header)) == 1 &&
             EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, EVP_TAG, packet + size) == 1 &&
             EVP_DecryptFinal_ex(context, packet + size, &done) == 1;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evp_calls calls;
    struct evp_sealer sealer;
    void *addresses[EVP_CALLS] = {
        (void *)(uintptr_t)EVP_CIPHER_CTX_new, (void *)(uintptr_t)EVP_CIPHER_CTX_free,
        (void *)(uintptr_t)EVP_CIPHER_CTX_ctrl, (void *)(uintptr_t)EVP_EncryptInit_ex,
        (void *)(uintptr_t)EVP_EncryptUpdate, (void *)(uintptr_t)EVP_EncryptFinal_ex,
        (void *)(uintptr_t)EVP_aes_128_ctr, (void *)(uintptr_t)EVP_aes_256_ctr,
        (void *)(uintptr_t)EVP_aes_128_gcm, (void *)(uintptr_t)EVP_aes_256_gcm,
    };
    struct reader r = {data, size};
    uint8_t key[EVP_KEY_MAX + EVP_SALT];
    memcpy(&calls, addresses, sizeof calls);
    for (uint32_t i = 0; i < sizeof key; i++) key[i] = (uint8_t)(i * 7);
    uint64_t index = (uint64_t)take16(&r) << 32 | take32(&r);
    uint32_t header = 12 + take8(&r);
    if (r.left < 12) return 0;
    uint32_t n = (uint32_t)r.left;
    if (header > n) header = n;
    CLAIM(evp_sealer_take(&calls, &sealer, key, 16) == 0);
    uint8_t *packet = malloc(n + EVP_TAG);
    if (!packet) abort();
    memcpy(packet, r.data, n);
    CLAIM(evp_seal(&calls, &sealer, packet, header, n, index) == 0);
    CLAIM(memcmp(packet, r.data, header) == 0);
    uint8_t *again = own(packet, n + EVP_TAG);
    CLAIM(!opens(key, key + 16, again, header, n, index ^ 1));
    free(again);
    CLAIM(opens(key, key + 16, packet, header, n, index));
    CLAIM(memcmp(packet, r.data, n) == 0);
    free(packet);
    evp_sealer_free(&calls, &sealer);
    return 0;
}
