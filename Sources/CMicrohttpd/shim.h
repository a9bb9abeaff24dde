/* libmicrohttpd as the Admin room sees it; that room is the only importer. */
#pragma once
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <microhttpd.h>

/* What a daemon is started with: MHD_start_daemon is variadic, and some of its options are functions. */
struct relay_daemon_options {
    /* -1: none; connections come by MHD_add_connection. */
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
    /* Asked with every connection, before it is taken. */
    MHD_AcceptPolicyCallback accept;
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

/*
 * The library cuts method and path at a NUL. Where it found the end of the URI it tells the callback below, before anything of
 * the line has changed; later the place of the version shows whether that was the end. The length is kept as an odd
 * number in the request's context, until there is one.
 */
static void *relay_note_uri(void *context, const char *uri, struct MHD_Connection *connection) {
    (void)context;
    (void)connection;
    return (void *)(uintptr_t)(strlen(uri) << 1 | 1);
}

/* Whether a request's context is only what was noted of its URI. */
static inline int relay_is_noted(const void *context) { return (uintptr_t)context & 1; }

/* Whether the request line holds a NUL; `noted` is the context that it was found with. */
static inline int relay_line_is_cut(const char *method, const char *path, const char *version, const void *noted) {
    const char *behind = method + strlen(method) + 1;
    if (behind > path || version != path + ((uintptr_t)noted >> 1) + 1)
        return 1;
    while (behind < path)
        if (*behind++ != ' ')
            return 1;
    return 0;
}

/*
 * Names and values of the header are cut at a NUL as well. They stand where they came in, so behind each there is the end of its
 * line, made of NULs by the library, and then the next name at once; what is cut leaves more between the two. A NUL that ends the
 * last value cannot be seen, and nothing is behind it that anybody could miss.
 */
struct relay_header_walk {
    /* Behind what was looked at last. */
    const char *end;
    /* Octets of a line's end: 1 or 2; 0: not known yet. */
    size_t width;
    int is_cut;
};

static inline int relay_holds_zeros(const char *text, size_t count) {
    while (count > 0)
        if (text[--count] != 0)
            return 0;
    return 1;
}

static enum MHD_Result relay_walk_header(
    void *context, enum MHD_ValueKind kind, const char *name, size_t name_size, const char *value, size_t value_size) {
    struct relay_header_walk *walk = (struct relay_header_walk *)context;
    (void)kind;
    (void)name_size;
    size_t width = walk->width > 0 ? walk->width : name == walk->end + 1 ? 1 : 2;
    if (value == NULL || name != walk->end + width || !relay_holds_zeros(walk->end, width)) {
        walk->is_cut = 1;
        return MHD_NO;
    }
    walk->width = width;
    walk->end = value + value_size;
    return MHD_YES;
}

/* Whether the header holds a NUL; `version` is the end of the request line. */
static inline int relay_header_is_cut(struct MHD_Connection *connection, const char *version) {
    struct relay_header_walk walk = {version + strlen(version), 0, 0};
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, &relay_walk_header, &walk);
    /* Behind the last one stands the empty line. */
    return walk.is_cut || !relay_holds_zeros(walk.end, walk.width > 0 ? 2 * walk.width : 2);
}

/*
 * The library answers what it cannot read with a page of HTML of its own and has no hook for that. But it logs first, on
 * the connection's thread, so the answer is written there, as every other error of the API looks, and the page meets a
 * socket that is shut. Which socket that is the thread knows by its timer slack: a thread inherits it from the one that
 * makes it, where relay_mark_thread was called for the connection; some nanoseconds more or less mean nothing to it.
 */
enum { relay_usual_slack = 50000, relay_most_sockets = 1 << 20 };

static inline void relay_mark_thread(int socket) {
    prctl(PR_SET_TIMERSLACK, (unsigned long)(relay_usual_slack + (socket > 0 ? socket : 0)), 0, 0, 0);
}

static const char *relay_error_detail(unsigned int status) {
    switch (status) {
    case 400: return "the request line, a header field or a chunk cannot be read";
    case 413: return "the body is too large";
    case 414: return "the URI is too long";
    case 431: return "the header is too large";
    case 505: return "this is HTTP/1.1";
    default: return "the request cannot be answered";
    }
}

/* `tls`: not NULL where plain text would mean nothing; then the connection just ends. */
static void relay_replace_error(void *tls, const char *format, va_list arguments) {
    static const char known[] = "Error processing request (HTTP response code is %u";
    if (strncmp(format, known, sizeof known - 1) != 0)
        return;
    unsigned int status = va_arg(arguments, unsigned int);
    int socket = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) - relay_usual_slack;
    if (socket <= 0 || socket > relay_most_sockets)
        return;
    if (tls == NULL) {
        const char *phrase = MHD_get_reason_phrase_for(status);
        char body[512], head[512], rest[4096];
        int size = snprintf(
            body, sizeof body,
            "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\",\"instance\":\"\","
            "\"request_id\":\"\"}",
            phrase, status, relay_error_detail(status));
        int length = snprintf(
            head, sizeof head,
            "HTTP/1.1 %u %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
            "Connection: close\r\n\r\n",
            status, phrase, size);
        if (send(socket, head, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length)
            send(socket, body, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
        /* What is left unread would make of the end a reset, which takes the answer with it. */
        for (int n = 0; n < 256 && recv(socket, rest, sizeof rest, MSG_DONTWAIT) > 0; n++) {}
    }
    shutdown(socket, SHUT_WR);
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
    struct MHD_OptionItem listens[] = {
        {MHD_OPTION_LISTEN_SOCKET, o->listen_socket, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    flags |= MHD_USE_ERROR_LOG;
    if (o->listen_socket < 0)
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    if (o->certificate != NULL)
        flags |= MHD_USE_TLS;
    return MHD_start_daemon(
        flags, 0, o->accept, o->context, o->handle, o->context,
        MHD_OPTION_EXTERNAL_LOGGER, &relay_replace_error, (void *)o->certificate,
        MHD_OPTION_CONNECTION_LIMIT, o->connection_limit,
        MHD_OPTION_CONNECTION_TIMEOUT, o->timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, o->memory,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, &relay_keep_escapes, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, &relay_note_uri, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, o->completed, o->context,
        MHD_OPTION_NOTIFY_CONNECTION, o->connection, o->context,
        MHD_OPTION_ARRAY, o->listen_socket < 0 ? none : listens,
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

/* The library no longer ends a connection that is silent: a callback may wait for events longer than that. */
static inline void relay_keep_connection(struct MHD_Connection *connection) {
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
}

/* The size of a body that is made while it is sent; a macro that Swift cannot import. */
static inline uint64_t relay_unknown_size(void) { return MHD_SIZE_UNKNOWN; }

/* What we keep beside a connection. */
static inline void *relay_connection_context(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}
