/* libmicrohttpd as the Admin room sees it; that room is the only importer. */
#pragma once
#include <stdint.h>
#include <string.h>
#include <microhttpd.h>

/* What a daemon is started with: MHD_start_daemon is variadic, and some of its options are functions. */
struct relay_daemon_options {
    int listen_socket;
    unsigned int connection_limit;
    /* Seconds without progress. */
    unsigned int timeout;
    /* Bytes for the header and the buffers of a connection. */
    size_t memory;
    /* PEM texts, or NULL for plain HTTP; they outlive the daemon. */
    const char *certificate;
    const char *key;
    void *context;
    MHD_AccessHandlerCallback handle;
    MHD_RequestCompletedCallback completed;
    MHD_NotifyConnectionCallback connection;
};

/* Escapes stay: we decode once, ourselves, and see an encoded slash or NUL for what it is. */
static size_t relay_keep_escapes(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    return strlen(text);
}

static inline struct MHD_Daemon *relay_start_daemon(const struct relay_daemon_options *o) {
    unsigned int flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)o->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)o->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    if (o->certificate != NULL)
        flags |= MHD_USE_TLS;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, o->handle, o->context,
        MHD_OPTION_LISTEN_SOCKET, o->listen_socket,
        MHD_OPTION_CONNECTION_LIMIT, o->connection_limit,
        MHD_OPTION_CONNECTION_TIMEOUT, o->timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->memory,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, &relay_keep_escapes, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, o->completed, o->context,
        MHD_OPTION_NOTIFY_CONNECTION, o->connection, o->context,
        MHD_OPTION_ARRAY, o->certificate != NULL ? tls : none,
        MHD_OPTION_END);
}

/* The socket of a connection, or -1. */
static inline int relay_connection_socket(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info == NULL ? -1 : info->connect_fd;
}

/* Whom a connection comes from, or NULL. */
static inline const struct sockaddr *relay_client_address(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info == NULL ? NULL : info->client_addr;
}

/* The size of a body that is made while it is sent; a macro that Swift cannot import. */
static inline uint64_t relay_unknown_size(void) { return MHD_SIZE_UNKNOWN; }

/* What we keep beside a connection. */
static inline void *relay_connection_context(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}
