// HookReply+Answers.swift — the document's codes as answers of a plugin; a code that a hook does not have is a fault.

import Config
import Hooks
import Mail

extension HookReply {
    func queueOutbound(_ envelope: inout Envelope) throws(HookFault) -> QueueOutboundAnswer {
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

    func receive(_ hook: Hook) throws(HookFault) -> ReceptionAnswer {
        switch code {
        case .CONT, .OK: .next
        case let code where code.refuses: .reject(Reply(550, EnhancedStatus(5, 7, 1), message ?? "refused"))
        case let code where code.refusesForNow:
            .reject(Reply(450, EnhancedStatus(4, 7, 1), message ?? "try again later"))
        default: throw unusable(hook)
        }
    }

    func sendEmail() throws(HookFault) -> SendEmailAnswer {
        switch code {
        case .CONT, .OK: .next
        case .DELAY: .delay(try time())
        default: throw unusable(.sendEmail)
        }
    }

    func getMX() throws(HookFault) -> GetMXAnswer {
        switch code {
        case .CONT: return .next
        case .OK:
            guard let mx, !mx.isEmpty else { throw HookFault("OK to get_mx has no mx") }
            do throws(ConfigError) {
                return .use(try MX.answer(mx))
            } catch {
                throw HookFault("mx: \(error.reason)")
            }
        case let code where code.refuses: return .reject(message ?? "No MX for this domain")
        case let code where code.refusesForNow: return .tryLater(message ?? "Temporary MX lookup failure")
        default: throw unusable(.getMX)
        }
    }

    func deferred() throws(HookFault) -> DeferredAnswer {
        switch code {
        case .CONT: .next
        case .OK: .drop
        case .DENYSOFT: .delay(try time())
        default: throw unusable(.deferred)
        }
    }

    func bounce() throws(HookFault) -> BounceAnswer {
        switch code {
        case .CONT: .next
        case .OK: .suppress
        default: throw unusable(.bounce)
        }
    }

    private func unusable(_ hook: Hook) -> HookFault {
        HookFault("\(hook.rawValue) has no answer \(code.rawValue)")
    }

    /// A number of seconds, never a text that happens to hold one.
    private func time() throws(HookFault) -> Duration {
        guard let delay, delay.isFinite, delay >= 0, delay <= 1e9 else {
            throw HookFault("\(code.rawValue) needs delay, a number of seconds")
        }
        return .milliseconds(Int64(delay * 1000))
    }

    private func edit(_ notes: inout Notes) throws(HookFault) {
        for (name, word) in self.notes {
            switch name {
            case "outbound_ip":
                notes.outboundIP = try word.map { word throws(HookFault) in
                    guard let ip = IPAddress(word) ?? IPAddress(literal: word), !ip.isUnspecified else {
                        throw HookFault("notes.outbound_ip is no IP address")
                    }
                    return ip
                }
            case "outbound_helo":
                notes.outboundHelo = try word.map { word throws(HookFault) in
                    guard let name = Domain(word) else {
                        throw HookFault("notes.outbound_helo is no host name")
                    }
                    return name
                }
            case "force_tls": notes.forceTLS = word == "true" || word == "1"
            default: notes.values[name] = word
            }
        }
    }
}
