/* The files of the page in a browser, as they stand in page/ beside this file, inside the program: by the preprocessor, as
 * openapi.yaml is (CContract). The Page room is the only importer. A new file needs its embedding and its line
 * in the list; after a change of one
 * of them touch this file. */
#pragma once
#include <stddef.h>

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"

struct martlet_page_file {
    const char *name;
    const unsigned char *bytes;
    long count;
};

static const unsigned char martlet_page_index_html[] = {
#embed "page/index.html"
};
static const unsigned char martlet_page_page_css[] = {
#embed "page/page.css"
};
static const unsigned char martlet_page_icon_svg[] = {
#embed "page/icon.svg"
};
static const unsigned char martlet_page_app_js[] = {
#embed "page/app.js"
};
static const unsigned char martlet_page_dom_js[] = {
#embed "page/dom.js"
};
static const unsigned char martlet_page_words_js[] = {
#embed "page/words.js"
};
static const unsigned char martlet_page_format_js[] = {
#embed "page/format.js"
};
static const unsigned char martlet_page_api_js[] = {
#embed "page/api.js"
};
static const unsigned char martlet_page_live_js[] = {
#embed "page/live.js"
};
static const unsigned char martlet_page_keys_js[] = {
#embed "page/keys.js"
};
static const unsigned char martlet_page_act_js[] = {
#embed "page/act.js"
};
static const unsigned char martlet_page_table_js[] = {
#embed "page/table.js"
};
static const unsigned char martlet_page_chart_js[] = {
#embed "page/chart.js"
};
static const unsigned char martlet_page_theme_js[] = {
#embed "page/theme.js"
};
static const unsigned char martlet_page_heat_js[] = {
#embed "page/heat.js"
};
static const unsigned char martlet_page_login_js[] = {
#embed "page/login.js"
};
static const unsigned char martlet_page_now_js[] = {
#embed "page/now.js"
};
static const unsigned char martlet_page_deed_js[] = {
#embed "page/deed.js"
};
static const unsigned char martlet_page_destination_js[] = {
#embed "page/destination.js"
};
static const unsigned char martlet_page_filter_js[] = {
#embed "page/filter.js"
};
static const unsigned char martlet_page_queue_js[] = {
#embed "page/queue.js"
};
static const unsigned char martlet_page_message_js[] = {
#embed "page/message.js"
};
static const unsigned char martlet_page_history_js[] = {
#embed "page/history.js"
};
static const unsigned char martlet_page_bulk_js[] = {
#embed "page/bulk.js"
};
static const unsigned char martlet_page_tail_js[] = {
#embed "page/tail.js"
};
static const unsigned char martlet_page_diff_js[] = {
#embed "page/diff.js"
};
static const unsigned char martlet_page_form_js[] = {
#embed "page/form.js"
};
static const unsigned char martlet_page_routes_js[] = {
#embed "page/routes.js"
};
static const unsigned char martlet_page_outbound_js[] = {
#embed "page/outbound.js"
};
static const unsigned char martlet_page_addresses_js[] = {
#embed "page/addresses.js"
};
static const unsigned char martlet_page_webhooks_js[] = {
#embed "page/webhooks.js"
};
static const unsigned char martlet_page_way_js[] = {
#embed "page/way.js"
};
static const unsigned char martlet_page_lane_js[] = {
#embed "page/lane.js"
};
static const unsigned char martlet_page_limits_js[] = {
#embed "page/limits.js"
};
static const unsigned char martlet_page_explain_js[] = {
#embed "page/explain.js"
};
static const unsigned char martlet_page_config_js[] = {
#embed "page/config.js"
};
static const unsigned char martlet_page_sessions_js[] = {
#embed "page/sessions.js"
};
static const unsigned char martlet_page_help_js[] = {
#embed "page/help.js"
};
static const unsigned char martlet_page_lists_js[] = {
#embed "page/lists.js"
};
static const unsigned char martlet_page_staging_js[] = {
#embed "page/staging.js"
};
static const unsigned char martlet_page_dkim_js[] = {
#embed "page/dkim.js"
};
static const unsigned char martlet_page_steps_js[] = {
#embed "page/steps.js"
};
static const unsigned char martlet_page_stream_js[] = {
#embed "page/stream.js"
};
static const unsigned char martlet_page_hello_js[] = {
#embed "page/hello.js"
};

#define MARTLET_PAGE(name, bytes) {name, bytes, sizeof bytes}

static const struct martlet_page_file martlet_page_files[] = {
    MARTLET_PAGE("index.html", martlet_page_index_html),
    MARTLET_PAGE("page.css", martlet_page_page_css),
    MARTLET_PAGE("icon.svg", martlet_page_icon_svg),
    MARTLET_PAGE("app.js", martlet_page_app_js),
    MARTLET_PAGE("dom.js", martlet_page_dom_js),
    MARTLET_PAGE("words.js", martlet_page_words_js),
    MARTLET_PAGE("format.js", martlet_page_format_js),
    MARTLET_PAGE("api.js", martlet_page_api_js),
    MARTLET_PAGE("live.js", martlet_page_live_js),
    MARTLET_PAGE("keys.js", martlet_page_keys_js),
    MARTLET_PAGE("act.js", martlet_page_act_js),
    MARTLET_PAGE("table.js", martlet_page_table_js),
    MARTLET_PAGE("chart.js", martlet_page_chart_js),
    MARTLET_PAGE("theme.js", martlet_page_theme_js),
    MARTLET_PAGE("heat.js", martlet_page_heat_js),
    MARTLET_PAGE("login.js", martlet_page_login_js),
    MARTLET_PAGE("now.js", martlet_page_now_js),
    MARTLET_PAGE("deed.js", martlet_page_deed_js),
    MARTLET_PAGE("destination.js", martlet_page_destination_js),
    MARTLET_PAGE("filter.js", martlet_page_filter_js),
    MARTLET_PAGE("queue.js", martlet_page_queue_js),
    MARTLET_PAGE("message.js", martlet_page_message_js),
    MARTLET_PAGE("history.js", martlet_page_history_js),
    MARTLET_PAGE("bulk.js", martlet_page_bulk_js),
    MARTLET_PAGE("tail.js", martlet_page_tail_js),
    MARTLET_PAGE("diff.js", martlet_page_diff_js),
    MARTLET_PAGE("form.js", martlet_page_form_js),
    MARTLET_PAGE("routes.js", martlet_page_routes_js),
    MARTLET_PAGE("outbound.js", martlet_page_outbound_js),
    MARTLET_PAGE("addresses.js", martlet_page_addresses_js),
    MARTLET_PAGE("webhooks.js", martlet_page_webhooks_js),
    MARTLET_PAGE("way.js", martlet_page_way_js),
    MARTLET_PAGE("lane.js", martlet_page_lane_js),
    MARTLET_PAGE("limits.js", martlet_page_limits_js),
    MARTLET_PAGE("explain.js", martlet_page_explain_js),
    MARTLET_PAGE("config.js", martlet_page_config_js),
    MARTLET_PAGE("sessions.js", martlet_page_sessions_js),
    MARTLET_PAGE("help.js", martlet_page_help_js),
    MARTLET_PAGE("lists.js", martlet_page_lists_js),
    MARTLET_PAGE("staging.js", martlet_page_staging_js),
    MARTLET_PAGE("dkim.js", martlet_page_dkim_js),
    MARTLET_PAGE("steps.js", martlet_page_steps_js),
    MARTLET_PAGE("stream.js", martlet_page_stream_js),
    MARTLET_PAGE("hello.js", martlet_page_hello_js),
};

static inline long martlet_page_count(void) { return sizeof martlet_page_files / sizeof martlet_page_files[0]; }

static inline struct martlet_page_file martlet_page_file(long number) { return martlet_page_files[number]; }

#pragma clang diagnostic pop
