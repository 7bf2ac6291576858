/* The TLS that TURN connections share (RFC 8489 6.2.3, BCP 195): an SSL_CTX of a certificate with its chain and a key.
 *
 * There may be several, in a row: the first is asked by new connections, and hands each to the one that has the name which
 * the client wants (RFC 6066 3). Each holds the next one. */
#ifndef ORCHARD_TLS_H
#define ORCHARD_TLS_H

#include <stdint.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* RFC 8489 6.2.3 wants ECDHE- and DHE-RSA-AES128-GCM-SHA256. TLS 1.3 has its own, AES-128-GCM among them. */
#define TLS_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"

enum tls_fault { TLS_NO_CERTIFICATE = -1, TLS_NO_KEY = -2, TLS_NO_PAIR = -3, TLS_NO_MEMORY = -4 };

static inline int tls_no_password(char *out, int size, int writing, void *closure) {
    (void)out, (void)size, (void)writing, (void)closure;
    return -1; /* nobody is to be asked on a terminal */
}

/* RFC 7443: the client's first label of STUN's. A client that offers none of them, or no ALPN, is not refused. */
static inline int tls_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
                           unsigned int size, void *closure) {
    static const char turn[] = "stun.turn", discovery[] = "stun.nat-discovery";
    (void)ssl, (void)closure;
    for (unsigned int at = 0; at < size && in[at] < size - at; at += 1u + in[at]) {
        if ((in[at] == sizeof turn - 1 && memcmp(in + at + 1, turn, sizeof turn - 1) == 0) ||
            (in[at] == sizeof discovery - 1 && memcmp(in + at + 1, discovery, sizeof discovery - 1) == 0)) {
            *out = in + at + 1;
            *out_size = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static inline void tls_free_next(void *context, void *next, CRYPTO_EX_DATA *data, int index, long argl, void *argp) {
    (void)context, (void)data, (void)index, (void)argl, (void)argp;
    SSL_CTX_free(next);
}

/* Where a context holds the next one. */
static inline int tls_next_index(void) {
    static int index = -1; /* made under the interpreter's lock, by tls_make */
    if (index < 0) index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_free_next);
    return index;
}

/* The first of a row whose certificate has the name that the client wants. Where there is none, or no name, the first. */
static inline int tls_named(SSL *ssl, int *alert, void *closure) {
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert, (void)closure;
    if (!name) return SSL_TLSEXT_ERR_NOACK;
    for (SSL_CTX *c = SSL_get_SSL_CTX(ssl); c; c = SSL_CTX_get_ex_data(c, tls_next_index())) {
        if (X509_check_host(SSL_CTX_get0_certificate(c), name, 0, 0, NULL) != 1) continue;
        SSL_set_SSL_CTX(ssl, c);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static inline int tls_use(SSL_CTX *c, BIO *chain, BIO *key) {
    X509 *certificate = PEM_read_bio_X509_AUX(chain, NULL, tls_no_password, NULL);
    int taken = certificate && SSL_CTX_use_certificate(c, certificate) == 1;
    X509_free(certificate);
    if (!taken) return TLS_NO_CERTIFICATE;
    for (X509 *issuer; (issuer = PEM_read_bio_X509(chain, NULL, tls_no_password, NULL));) {
        taken = SSL_CTX_add1_chain_cert(c, issuer) == 1;
        X509_free(issuer);
        if (!taken) return TLS_NO_CERTIFICATE;
    }
    ERR_clear_error(); /* that there were no more */
    EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, tls_no_password, NULL);
    if (!private) return TLS_NO_KEY;
    taken = SSL_CTX_use_PrivateKey(c, private) == 1 && SSL_CTX_check_private_key(c) == 1;
    EVP_PKEY_free(private);
    return taken ? 0 : TLS_NO_PAIR;
}

/* Of PEM texts. 0, or why there is no `out`, which is one without a next. */
static inline int tls_make(SSL_CTX **out, const void *chain, int chain_size, const void *key, int key_size) {
    ERR_clear_error();
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    BIO *chain_text = BIO_new_mem_buf(chain, chain_size), *key_text = BIO_new_mem_buf(key, key_size);
    int fault = TLS_NO_MEMORY;
    if (c && chain_text && key_text && tls_next_index() >= 0 && SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(c, TLS_CIPHERS) == 1) {
        /* who closes without TLS's word of it has closed: messages say how long they are, and data connections are TCP's
         * on their other half, where nobody could tell either */
        SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_dh_auto(c, 1);
        /* what is written may move, since it waits in a queue that grows; idle connections keep no buffers */
        SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
        /* else one read goes on for as long as records without data come */
        SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY);
        SSL_CTX_set_read_ahead(c, 1); /* head and body of a record by one call */
        SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF); /* tickets need none */
        SSL_CTX_set_alpn_select_cb(c, tls_alpn, NULL);
        SSL_CTX_set_tlsext_servername_callback(c, tls_named);
        fault = tls_use(c, chain_text, key_text);
    }
    BIO_free(chain_text);
    BIO_free(key_text);
    ERR_clear_error();
    if (fault < 0) SSL_CTX_free(c);
    else *out = c;
    return fault;
}

/* Put `next`, which is `c`'s to free from now on, behind it. -1: no memory, and `next` stays the caller's. */
static inline int tls_follow(SSL_CTX *c, SSL_CTX *next) {
    return SSL_CTX_set_ex_data(c, tls_next_index(), next) == 1 ? 0 : -1;
}

#endif
