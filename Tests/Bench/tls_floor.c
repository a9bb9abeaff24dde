// tls_floor.c - what OpenSSL alone spends on a connection of a relay: a resumed handshake of TLS 1.3 and seven replies, on
// memory buffers, the server's half only. No socket, no SMTP: nothing below this is possible for a relay that uses OpenSSL.
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double spent;
static double cpu(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
static SSL_SESSION *ticket;
static int keep(SSL *ssl, SSL_SESSION *session) { (void)ssl; if (ticket) SSL_SESSION_free(ticket); ticket = session; return 1; }
static void move(BIO *from, BIO *to) { char b[20000]; int n; while ((n = BIO_read(from, b, sizeof b)) > 0) BIO_write(to, b, n); }
static void die(const char *what) { fprintf(stderr, "%s\n", what); ERR_print_errors_fp(stderr); exit(1); }

static int once(SSL_CTX *server_context, SSL_CTX *client_context, int resumes) {
    double begin = cpu();
    SSL *server = SSL_new(server_context);
    BIO *sr = BIO_new(BIO_s_mem()), *sw = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(sr, -1); BIO_set_mem_eof_return(sw, -1);
    SSL_set_bio(server, sr, sw);
    SSL_set_accept_state(server);
    spent += cpu() - begin;
    SSL *client = SSL_new(client_context);
    BIO *cr = BIO_new(BIO_s_mem()), *cw = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(cr, -1); BIO_set_mem_eof_return(cw, -1);
    SSL_set_bio(client, cr, cw);
    SSL_set_connect_state(client);
    if (resumes && ticket) SSL_set_session(client, ticket);
    char b[20000];
    int client_done = 0, server_done = 0;
    while (!client_done || !server_done) {
        client_done = SSL_do_handshake(client) == 1;
        move(cw, sr);
        begin = cpu();
        server_done = SSL_do_handshake(server) == 1;
        spent += cpu() - begin;
        move(sw, cr);
    }
    int resumed = SSL_session_reused(server);
    // EHLO, MAIL, RCPT, DATA, 4 KiB, QUIT and their replies.
    static const int sizes[] = {15, 28, 26, 6, 4096, 6};
    for (int i = 0; i < 6; i++) {
        SSL_write(client, memset(b, 'x', sizeof b), sizes[i]);
        move(cw, sr);
        begin = cpu();
        if (SSL_read(server, b, sizeof b) != sizes[i]) die("read");
        if (SSL_write(server, b, i ? 40 : 180) < 0) die("write");
        spent += cpu() - begin;
        move(sw, cr);
        SSL_read(client, b, sizeof b);
    }
    begin = cpu();
    SSL_set_shutdown(server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(server);
    spent += cpu() - begin;
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    return resumed;
}

int main(int count, char **arguments) {
    if (count < 3) { fprintf(stderr, "tls_floor KEY CERTIFICATE [N]\n"); return 2; }
    int n = count > 3 ? atoi(arguments[3]) : 3000;
    SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate_file(server, arguments[2], SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(server, arguments[1], SSL_FILETYPE_PEM);
    SSL_CTX_set_num_tickets(server, 1);
    SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"m", 1);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, keep);
    once(server, client, 0);
    for (int resumes = 1; resumes >= 0; resumes--) {
        int resumed = 0;
        spent = 0;
        for (int i = 0; i < n; i++) resumed += once(server, client, resumes);
        printf("%s: %.0f us of CPU for a connection (%d of %d resumed)\n", resumes ? "resumed" : "full", spent / n, resumed, n);
    }
}
