/* OpenSSL as the OpenSSL room sees it; that room is the only importer.
 *
 * What Swift cannot import (macros, variadic functions) has a function named `relay_…` here. */
#pragma once
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* What every context has in common: no renegotiation, no compression, small idle buffers, ephemeral keys only. */
static inline int relay_context_harden(SSL_CTX *context, int minimum_version) {
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_SINGLE_ECDH_USE
                                     | SSL_OP_SINGLE_DH_USE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_dh_auto(context, 1);
    return (int)SSL_CTX_set_min_proto_version(context, minimum_version);
}

static inline int relay_context_set_newest(SSL_CTX *context, int maximum_version) {
    return (int)SSL_CTX_set_max_proto_version(context, maximum_version);
}

static inline void relay_context_prefer_server_ciphers(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
}

static inline int relay_context_add1_chain_certificate(SSL_CTX *context, X509 *certificate) {
    return (int)SSL_CTX_add1_chain_cert(context, certificate);
}

static inline void relay_context_set_session_cache(SSL_CTX *context, long mode) {
    SSL_CTX_set_session_cache_mode(context, mode);
}

static inline void relay_context_set_server_name_callback(
    SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, argument);
}

static inline int relay_set_server_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}

static inline void relay_set_dane_ee_flags(SSL *ssl) {
    /* RFC 7672 §3.1.1: with DANE-EE neither names nor dates of the certificate count. */
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
}

static inline EVP_PKEY *relay_generate_rsa(size_t bits) { return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", bits); }
static inline EVP_PKEY *relay_generate_ed25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline EVP_PKEY *relay_generate_p256(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"); }

static inline void relay_memory_never_ends(BIO *bio) { BIO_set_mem_eof_return(bio, -1); }
static inline int relay_is_rsa(const EVP_PKEY *key) { return EVP_PKEY_is_a(key, "RSA"); }
static inline int relay_is_ed25519(const EVP_PKEY *key) { return EVP_PKEY_is_a(key, "ED25519"); }

/* A key that asks for a pass phrase is refused: nobody sits at the terminal of a relay. */
static inline int relay_no_pass_phrase(char *buffer, int size, int writing, void *data) {
    (void)buffer; (void)size; (void)writing; (void)data;
    return -1;
}
static inline EVP_PKEY *relay_read_private_key(BIO *bio) {
    return PEM_read_bio_PrivateKey(bio, NULL, relay_no_pass_phrase, NULL);
}
static inline X509 *relay_read_certificate(BIO *bio) {
    return PEM_read_bio_X509_AUX(bio, NULL, relay_no_pass_phrase, NULL);
}
static inline int relay_write_private_key(BIO *bio, EVP_PKEY *key) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
}

/* Adds an extension in the syntax of x509v3.cnf. */
static inline int relay_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (!extension) return 0;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

/* True when the last error only says that a PEM file has no further block. */
static inline int relay_at_end_of_pem(void) {
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}
