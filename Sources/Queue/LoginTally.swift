// LoginTally.swift — what waits of whoever hands mail in, and what became of their recipients of late. A value, in the queue's index.
//
// Guarantees: what waits is what the index holds, a message at a time, over restarts too, since it is counted as messages are filed
// and forgotten; memory is that of those of whom something waits or has happened since somebody asked, 65 535 of them at most:
// of those beyond nothing is known.

import Synchronization

/// What waits of somebody.
package struct WaitingMail: Hashable, Sendable {
    package var messages: Int
    package var bytes: Int

    package init(messages: Int = 0, bytes: Int = 0) { (self.messages, self.bytes) = (messages, bytes) }

    package static func + (a: WaitingMail, b: WaitingMail) -> WaitingMail {
        WaitingMail(messages: a.messages + b.messages, bytes: a.bytes + b.bytes)
    }
}

/// What became of recipients of somebody's mail.
package struct MailResults: Hashable, Sendable {
    package var delivered: Int
    package var bounced: Int

    package init(delivered: Int = 0, bounced: Int = 0) { (self.delivered, self.bounced) = (delivered, bounced) }
}

struct LoginTally: Sendable {
    /// Who it is, in the index; 0: nobody.
    typealias Number = UInt16

    private struct Account: Sendable {
        let name: String
        var waiting = WaitingMail()
        var results = MailResults()
    }

    /// Number 1 is the first.
    private var accounts: [Account?] = []
    private var numbers: [String: Number] = [:]
    private var free: [Number] = []
    /// Those with results that nobody has asked for.
    private var told: [Number] = []

    /// A message of somebody is filed.
    mutating func enter(_ name: String?, bytes: Int) -> Number {
        guard let name, let number = number(of: name) else { return 0 }
        change(number) {
            $0.waiting.messages += 1
            $0.waiting.bytes += bytes
        }
        return number
    }

    /// A message is forgotten.
    mutating func leave(_ number: Number, bytes: Int) {
        guard number > 0 else { return }
        change(number) {
            $0.waiting.messages -= 1
            $0.waiting.bytes -= bytes
        }
        tidy(number)
    }

    /// Recipients of a message are done.
    mutating func finished(_ number: Number, delivered: Int, bounced: Int) {
        guard number > 0, delivered + bounced > 0 else { return }
        if accounts[Int(number) - 1]?.results == MailResults() { told.append(number) }
        change(number) {
            $0.results.delivered += delivered
            $0.results.bounced += bounced
        }
    }

    /// What waits of somebody.
    func waiting(of name: String) -> WaitingMail {
        numbers[name].flatMap { accounts[Int($0) - 1]?.waiting } ?? WaitingMail()
    }

    /// What waits of everybody.
    var waiting: [String: WaitingMail] { numbers.compactMapValues { accounts[Int($0) - 1]?.waiting } }

    /// What became of recipients since somebody asked.
    mutating func takeResults() -> [(name: String, results: MailResults)] {
        var found: [(name: String, results: MailResults)] = []
        for number in told {
            guard let account = accounts[Int(number) - 1] else { continue }
            found.append((account.name, account.results))
            change(number) { $0.results = MailResults() }
        }
        let asked = told
        told = []
        for number in asked { tidy(number) }
        return found
    }

    private mutating func change(_ number: Number, _ body: (inout Account) -> Void) {
        let place = Int(number) - 1
        guard var account = accounts[place] else { return }
        body(&account)
        accounts[place] = account
    }

    private mutating func number(of name: String) -> Number? {
        if let known = numbers[name] { return known }
        let number: Number
        if let unused = free.popLast() {
            number = unused
            accounts[Int(number) - 1] = Account(name: name)
        } else {
            guard accounts.count < Int(Number.max) else { return nil }
            accounts.append(Account(name: name))
            number = Number(accounts.count)
        }
        numbers[name] = number
        return number
    }

    /// Forgets whom nothing is known of.
    private mutating func tidy(_ number: Number) {
        guard let account = accounts[Int(number) - 1], account.waiting.messages <= 0,
            account.results == MailResults()
        else { return }
        numbers[account.name] = nil
        accounts[Int(number) - 1] = nil
        free.append(number)
    }
}

extension MailQueue {
    /// What waits of somebody: what was accepted and is not finished, held mail too.
    package func waiting(of login: String) -> WaitingMail { state.withLock { $0.tally.waiting(of: login) } }

    /// What waits of everybody who handed mail in by a name.
    package var waitingByLogin: [String: WaitingMail] { state.withLock { $0.tally.waiting } }

    /// What became of recipients since this was asked last, by who handed their mail in.
    package func takeResults() -> [(name: String, results: MailResults)] {
        state.withLock { $0.tally.takeResults() }
    }
}
