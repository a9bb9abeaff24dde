// Plugin.swift — the contract of a plugin: hooks, each of which may be left out.

package import Mail

/// Takes part in what becomes of mail.
///
/// Hooks are called off the event loops and may take their time, up to `plugin_timeout`; several mails are asked about at
/// once. A plugin is called only for what ``hooks`` names, so that the others cost nothing.
package protocol Plugin: Sendable {
    /// For the log; unique.
    var name: String { get }

    /// The hooks that this plugin serves.
    var hooks: HookSet { get }

    /// Called once, before the first hook.
    func start(_ services: any RelayServices) async

    /// A client has connected.
    func connect(_ guest: Guest) async -> ReceptionAnswer

    /// A client has named a sender.
    func mail(_ guest: Guest) async -> ReceptionAnswer

    /// A client has named a recipient.
    func rcpt(_ guest: Guest) async -> ReceptionAnswer

    /// A message came in complete and is about to be queued; its envelope may be changed.
    ///
    /// Only when every plugin answers `.next` is it queued. Mail that is made inside passes too, but for what a plugin
    /// hands in while it is asked this.
    func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer

    /// The mail is about to be sent.
    func sendEmail(_ mail: HMail) async -> SendEmailAnswer

    /// Where shall the mail to this domain go?
    func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer

    /// The mail failed for now.
    func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer

    /// The mail failed for good; also asked about mail with the null sender, which is never reported.
    func bounce(_ mail: HMail, _ notice: BounceNotice) async -> BounceAnswer

    /// The mail was delivered.
    func delivered(_ mail: HMail, _ notice: DeliveredNotice) async
}

extension Plugin {
    package func start(_ services: any RelayServices) async {}
    package func connect(_ guest: Guest) async -> ReceptionAnswer { .next }
    package func mail(_ guest: Guest) async -> ReceptionAnswer { .next }
    package func rcpt(_ guest: Guest) async -> ReceptionAnswer { .next }
    package func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer {
        .next
    }
    package func sendEmail(_ mail: HMail) async -> SendEmailAnswer { .next }
    package func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer { .next }
    package func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer { .next }
    package func bounce(_ mail: HMail, _ notice: BounceNotice) async -> BounceAnswer { .next }
    package func delivered(_ mail: HMail, _ notice: DeliveredNotice) async {}
}
