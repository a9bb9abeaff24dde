/* OpenLDAP's library as the room Logins sees it; that room is the only importer.
 *
 * What Swift would have to spell with untyped pointers has a function named `relay_…` here. Every call blocks, for as long as the
 * handle's time limit at most. */
#pragma once
#include <ldap.h>
#include <string.h>
#include <sys/time.h>

/* A connection that is private where that is asked for. Certificates are verified, referrals are not followed. */
static inline int relay_ldap_open(const char *url, int seconds, const char *ca_file, int starts_tls, LDAP **handle) {
    int code = ldap_initialize(handle, url);
    if (code != LDAP_SUCCESS) return code;
    int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, fresh = 0;
    struct timeval limit = {seconds, 0};
    ldap_set_option(*handle, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(*handle, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    ldap_set_option(*handle, LDAP_OPT_NETWORK_TIMEOUT, &limit);
    ldap_set_option(*handle, LDAP_OPT_TIMEOUT, &limit);
    ldap_set_option(*handle, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
    if (ca_file != NULL) {
        code = ldap_set_option(*handle, LDAP_OPT_X_TLS_CACERTFILE, ca_file);
        if (code != LDAP_OPT_SUCCESS) return LDAP_LOCAL_ERROR;
    }
    if (ldap_set_option(*handle, LDAP_OPT_X_TLS_NEWCTX, &fresh) != LDAP_OPT_SUCCESS) return LDAP_LOCAL_ERROR;
    return starts_tls ? ldap_start_tls_s(*handle, NULL, NULL) : LDAP_SUCCESS;
}

/* A simple bind (RFC 4513 §5.1.3); an empty password, which many servers take for nobody's, is never sent with a name. */
static inline int relay_ldap_bind(LDAP *handle, const char *dn, const unsigned char *password, size_t size) {
    if (size == 0 && dn != NULL) return LDAP_INVALID_CREDENTIALS;
    struct berval proof = {size, (char *)password};
    return ldap_sasl_bind_s(handle, dn, LDAP_SASL_SIMPLE, &proof, NULL, NULL, NULL);
}

/* The one entry that a filter finds: its DN, to be given back with relay_ldap_free; NULL for none. */
static inline int relay_ldap_find(LDAP *handle, const char *base, const char *filter, int seconds, char **dn) {
    char *attributes[] = {(char *)LDAP_NO_ATTRS, NULL};
    struct timeval limit = {seconds, 0};
    LDAPMessage *found = NULL;
    *dn = NULL;
    int code = ldap_search_ext_s(handle, base, LDAP_SCOPE_SUBTREE, filter, attributes, 1, NULL, NULL, &limit, 2, &found);
    if (code == LDAP_SUCCESS && ldap_count_entries(handle, found) > 1) code = LDAP_SIZELIMIT_EXCEEDED;
    if (code == LDAP_SUCCESS && ldap_count_entries(handle, found) == 1) *dn = ldap_get_dn(handle, ldap_first_entry(handle, found));
    ldap_msgfree(found);
    return code;
}

static inline void relay_ldap_free(char *text) { ldap_memfree(text); }
static inline void relay_ldap_close(LDAP *handle) { if (handle != NULL) ldap_unbind_ext_s(handle, NULL, NULL); }
static inline const char *relay_ldap_words(int code) { return ldap_err2string(code); }

/* How a bind or a search ended: 0 well, 1 refused, 2 more than one fits, 3 trouble. */
static inline int relay_ldap_end(int code) {
    switch (code) {
    case LDAP_SUCCESS: return 0;
    case LDAP_INVALID_CREDENTIALS: case LDAP_NO_SUCH_OBJECT: case LDAP_INVALID_DN_SYNTAX: case LDAP_INAPPROPRIATE_AUTH:
        return 1;
    case LDAP_SIZELIMIT_EXCEEDED: return 2;
    default: return 3;
    }
}
