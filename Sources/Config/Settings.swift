// Settings.swift — one immutable picture of the whole configuration.

package import Mail

/// Everything that was read from the configuration directory, checked.
///
/// Replaced as a whole when a file changes.
package struct Settings: Hashable, Sendable {
    /// `me`: our host name, for the banner, EHLO, Received and reports.
    package var me: Domain
    package var listener = ListenerSettings()
    package var outbound = OutboundSettings()
    /// Where its keys stand, `outbound.ini:12`; those that stand nowhere are left out.
    package var outboundPlaces: [String: String] = [:]
    /// `relay_acl_allow`: who may relay without authentication.
    package var relayNetworks: [IPNetwork] = []
    /// `auth_flat_file.ini`: who may authenticate.
    package var auth = AuthSettings()
    /// `relay_acl_certs`: SHA-256 of certificates whose owners may relay.
    package var relayCertificates: Set<[UInt8]> = []
    /// `dkim.ini`: whose mail is signed.
    package var dkim = DKIMSettings()
    package var routes = Routes()
    package var outboundIPs = OutboundIPs()
    /// `limits.ini`: what may go where, and how fast.
    package var limits = LimitRules()
    /// `logins.ini`: who else than the file of users says who may log in.
    package var logins = LoginSettings()
    package var resolver = ResolverSettings()
    package var admin = AdminSettings()
    /// What `tls_ca_file` holds; nil: next hops are verified with the system's authorities.
    package var nextHopAuthorities: [UInt8]?
    package var tls = TLSSettings()
    /// `hooks.ini` and `plugin_timeout`.
    package var hooks = HookSettings()
    /// `events.ini`.
    package var events = EventSettings()
    /// `storage.ini`.
    package var storage = StorageSettings()
    /// Ours, and before them those of `bounce_classes.ini`: what replies mean.
    package var replyClasses = ReplyClassifier.shipped
    /// `milters.ini`, in its order.
    package var milters: [MilterSettings] = []
    /// `suppressions.ini`.
    package var suppressions = SuppressionSettings()
    /// `rewrite.ini`: which addresses become others on the way in.
    package var rewriting = Rewriting()
    /// `archive.ini`: whose mail is copied to an archive.
    package var archive = ArchiveSettings()
    /// What variables said when this was read.
    package var environment = Environment()
    /// `aliases`: who gets the mail of this machine's names.
    package var aliases = Aliases()
    /// What the machine calls itself where that is not `me`.
    package var machine: Domain?
    /// Who is somebody of this machine, and what that means.
    package var local: LocalMail {
        LocalMail(me: me, machine: machine, sender: listener.localSender, aliases: aliases)
    }
    /// `outbound.bounce_message`, the text of the template; empty when there is no such file.
    package var bounceTemplate = ""

    /// What empty files say.
    package init(me: Domain) { self.me = me }
}

/// `resolver.ini`.
package struct ResolverSettings: Hashable, Sendable {
    /// `forward`: resolvers to ask, as `ip` or `ip@port`; empty asks those of `/etc/resolv.conf`.
    package var forward: [String] = []
    /// `trust_anchor_file`: DNSSEC trust anchor; nil uses none.
    package var trustAnchorFile: String?
    /// The zone that the anchor is for, which the self-test asks about; nil without an anchor.
    package var anchoredZone: String?
    /// `hosts`: read `/etc/hosts` too.
    package var readsHosts = false
    /// `route_hosts`: where names of `routes.ini` are looked for first; nil: nowhere.
    package var hostsFile: String? = "/etc/hosts"
    /// `search`: domains behind short names of `routes.ini`; nil: those of /etc/resolv.conf, with its `ndots`.
    package var search: [Domain]?

    package init() {}
}
