// HookReply+Answers.swift — the document's codes as answers of a plugin; a code that a hook does not have is trouble.

import Config
import Hooks
import Mail

extension HookReply {
    func queueOutbound(_ envelope: inout Envelope) throws(HookTrouble) -> QueueOutboundAnswer {
        switch code {
        case .CONT:
            try edit(&envelope.notes)
            return try edits.apply(to: &envelope)
        case .OK: return .taken
        case let code where code.refuses:
            return .reject(Reply(550, EnhancedStatus(5, 7, 1), message ?? "refused"))
        case let code where code.refusesForNow:
            return .reject(Reply(450, EnhancedStatus(4, 7, 1), message ?? "try again later"))
        default: throw unusable(.queueOutbound)
        }
    }

    func receive(_ hook: Hook) throws(HookTrouble) -> ReceptionAnswer {
        switch code {
        case .CONT, .OK: .next
        case let code where code.refuses: .reject(Reply(550, EnhancedStatus(5, 7, 1), message ?? "refused"))
        case let code where code.refusesForNow:
            .reject(Reply(450, EnhancedStatus(4, 7, 1), message ?? "try again later"))
        default: throw unusable(hook)
        }
    }

    func sendEmail() throws(HookTrouble) -> SendEmailAnswer {
        switch code {
        case .CONT, .OK: .next
        case .DELAY: .delay(try time())
        default: throw unusable(.sendEmail)
        }
    }

    func getMX() throws(HookTrouble) -> GetMXAnswer {
        switch code {
        case .CONT: return .next
        case .OK:
            guard let mx, !mx.isEmpty else { throw HookTrouble("OK to get_mx has no mx") }
            do throws(ConfigError) {
                return .use(try MX.answer(mx))
            } catch {
                throw HookTrouble("mx: \(error.reason)")
            }
        case let code where code.refuses: return .reject(message ?? "No MX for this domain")
        case let code where code.refusesForNow: return .tryLater(message ?? "Temporary MX lookup failure")
        default: throw unusable(.getMX)
        }
    }

    func deferred() throws(HookTrouble) -> DeferredAnswer {
        switch code {
        case .CONT: .next
        case .OK: .drop
        case .DENYSOFT: .delay(try time())
        default: throw unusable(.deferred)
        }
    }

    func bounce() throws(HookTrouble) -> BounceAnswer {
        switch code {
        case .CONT: .next
        case .OK: .suppress
        default: throw unusable(.bounce)
        }
    }

    private func unusable(_ hook: Hook) -> HookTrouble {
        HookTrouble("\(hook.rawValue) has no answer \(code.rawValue)")
    }

    /// A number of seconds, never a text that happens to hold one.
    private func time() throws(HookTrouble) -> Duration {
        guard let delay, delay.isFinite, delay >= 0, delay <= 1e9 else {
            throw HookTrouble("\(code.rawValue) needs delay, a number of seconds")
        }
        return .milliseconds(Int64(delay * 1000))
    }

    private func edit(_ notes: inout Notes) throws(HookTrouble) {
        for (name, word) in self.notes {
            switch name {
            case "outbound_ip":
                notes.outboundIP = try word.map { word throws(HookTrouble) in
                    guard let ip = IPAddress(word) ?? IPAddress(literal: word), !ip.isUnspecified else {
                        throw HookTrouble("notes.outbound_ip is no IP address")
                    }
                    return ip
                }
            case "outbound_helo":
                notes.outboundHelo = try word.map { word throws(HookTrouble) in
                    guard let name = Domain(word) else {
                        throw HookTrouble("notes.outbound_helo is no host name")
                    }
                    return name
                }
            case "force_tls": notes.forceTLS = word == "true" || word == "1"
            default: notes.values[name] = word
            }
        }
    }
}
