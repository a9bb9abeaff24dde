// Wiring+Switch.swift — what the queue asks of settings: kinds of replies, and the switch of delivery as another node of the queue
// turned it, in this node's own outbound.ini.

import Config
import Log
import Mail
import Queue

extension Wiring {
    /// What `when` of a reaction may name: classes, the user's own included.
    func nameKinds() {
        queue.setKinds { [settings] failure in
            [settings.current.replyClasses.classify(failure.reply, at: failure.stage).replyClass.name]
        }
    }

    /// The switch follows what was said to all nodes; a variable of the environment stands above it.
    func followSwitch() {
        queue.setSwitch { [settings, log] isDisabled, reason in
            let outbound = settings.current.outbound
            guard outbound.isDisabled != isDisabled || isDisabled && outbound.disabledReason != reason else {
                return true
            }
            do throws(EditFailure<ConfigError>) {
                try settings.edit(
                    .outbound,
                    operation: "switch delivery",
                    key: "disabled",
                    by: "another node",
                    switching: DeliverySwitch(isDisabled: isDisabled, reason: reason)
                ) { (document) throws(ConfigError) in
                    try document.set("disabled", to: isDisabled ? "true" : "false", in: nil)
                    if reason.isEmpty {
                        document.remove("disabled_reason", in: nil)
                    } else {
                        try document.set("disabled_reason", to: reason, in: nil)
                    }
                }
                return true
            } catch {
                log.write(.error, "delivery was switched by another node, and not here") { $0.add(.error, "\(error)") }
                // What cannot be done now cannot be done in two seconds either.
                return true
            }
        }
    }
}
