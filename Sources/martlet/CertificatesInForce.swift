// CertificatesInForce.swift — the TLS context of reception, made of `tls.ini`, and replaced when that or a file of it changes.
//
// Guarantees: sessions that stand keep the context they began with; a pair that does not fit never replaces one that does;
// the keys of session tickets live for hours only, so that whoever steals one later reads no mail of yesterday.

import Config
import Log
import Mail
import OpenSSL
import Synchronization

/// What new TLS sessions of clients are made of.
final class CertificatesInForce: Sendable {
    private struct State {
        var settings: TLSSettings
        var context: TLSContext?
        var madeAt: Timestamp
    }

    /// Milliseconds that the keys of session tickets live.
    private static let ticketAge: Int64 = 12 * 3_600_000

    private let state: Mutex<State>

    /// - Throws: ``ConfigErrors`` when there is a pair and it does not fit.
    init(_ settings: TLSSettings) throws(ConfigErrors) {
        let context = try Self.make(settings)
        state = Mutex(State(settings: settings, context: context, madeAt: .now()))
    }

    /// nil while there is no certificate.
    var current: TLSContext? { state.withLock { $0.context } }

    /// Puts new settings in force, or says in the log why not.
    func apply(_ settings: TLSSettings, _ log: LogSink) {
        guard state.withLock({ $0.settings }) != settings else { return }
        do throws(ConfigErrors) {
            let context = try Self.make(settings)
            let isKept = state.withLock { state in
                state.settings = settings
                // Files that are gone: whoever relies on encryption is not to be sent back to plaintext by that.
                if context == nil, state.context != nil { return true }
                state.context = context
                state.madeAt = .now()
                return false
            }
            if isKept {
                log.write(.warning, "certificate is gone, the last good one stays") {
                    $0.add(.file, "\(settings.files)")
                }
            } else if context != nil {
                CertificateMetrics.show(settings)
                log.write(.notice, "certificate in force") { $0.add(.file, "\(settings.files)") }
            }
        } catch {
            // Looked at again when a file changes.
            state.withLock { $0.settings = settings }
            for error in error.errors {
                Serve.log(error, .error, "certificate is invalid, the last good one stays", to: log)
            }
        }
    }

    /// Makes the context anew when its ticket keys are old.
    func renewTickets(now: Timestamp) {
        let old = state.withLock { state in
            state.context != nil && now.milliseconds - state.madeAt.milliseconds > Self.ticketAge ? state.settings : nil
        }
        guard let old else { return }
        let fresh = try? Self.make(old)
        state.withLock { state in
            // When the files are broken now, there is nothing to make it of: the old one stays for another while.
            if let fresh, state.settings == old { state.context = fresh }
            state.madeAt = now
        }
    }

    /// Whether a relay would start with these.
    static func check(_ settings: TLSSettings) throws(ConfigErrors) { _ = try make(settings) }

    private static func make(_ settings: TLSSettings) throws(ConfigErrors) -> TLSContext? {
        guard settings.isAvailable else { return nil }
        var server = TLSContext.Server(certificate: CertificatePair(settings.files))
        for named in settings.named { server.byName[named.name] = CertificatePair(named.files) }
        server.parameters.ciphers = settings.ciphers
        server.parameters.minimumVersion = TLSContext.Version(rawValue: settings.minimumVersion) ?? .tls12
        server.prefersOwnCiphers = settings.honorsCipherOrder
        server.clientCertificates = settings.requestsCertificate ? .asked : .never
        server.clientAuthorities = settings.clientAuthorities
        do throws(TLSError) {
            return try TLSContext(server: server)
        } catch {
            throw ConfigErrors([ConfigError(file: TLSSettings.file, reason: "\(settings.files): \(error.reason)")])
        }
    }
}
