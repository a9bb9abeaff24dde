// Standing.swift — every limit and pause that counts for a lane or for some mail, and what it waits for: what people are told,
// from the values that act.

package import Mail

/// Limits and pauses that count for something.
package struct Standing: Hashable, Sendable {
    /// Each with its origin; the smallest of each key says so.
    package var limits: [LimitInForce] = []
    package var pauses: [Pause] = []

    /// The limit that keeps messages longest.
    package var keeps: LimitInForce? {
        limits.filter { [.rate, .daily, .warmup, .otherSource].contains($0.key) && $0.opens != nil }
            .max { ($0.opens?.milliseconds ?? 0) < ($1.opens?.milliseconds ?? 0) }
    }

    /// The limit that keeps a lane from one more session.
    package var keepsSession: LimitInForce? {
        limits.first { limit in
            switch limit.key {
            case .connections: (limit.used ?? 0) >= (Int(limit.text) ?? .max)
            case .newConnections: limit.opens != nil
            case .perConnection, .rate, .daily, .recipients, .warmup, .per, .overflow, .otherSource: false
            }
        }
    }
}

/// The breaker of a lane: what its rests are called outside.
package struct LaneBreaker: Hashable, Sendable {
    /// Where it stands.
    package enum State: String, Hashable, Sendable, CaseIterable {
        /// Sessions are opened as they are wanted.
        case closed
        /// No session is tried before the next probe.
        case open
        /// One session tries.
        case probing
    }

    package let state: State
    /// Rests in a row without an answer.
    package let rests: Int
    /// When the first of them began.
    package let since: Uptime?
    /// When the next session tries.
    package let nextProbe: Uptime?
    /// What the lane last said, or what was found; empty when it is not known.
    package let said: String
}

extension Scheduler {
    /// Every limit and pause of some scopes.
    package func standing(of scopes: [LimitScope], at now: Uptime) -> Standing {
        var standing = Standing()
        guard book.isOn else { return standing }
        let wall = book.wall(now)
        for scope in [.all] + scopes {
            if let pause = book.pauses[scope] { standing.pauses.append(pause) }
            guard let terms = book.terms(for: scope) else { continue }
            let meter = book.value(of: scope)
            for key in LimitTerms.Key.allCases {
                guard var limit = LimitInForce(key, of: terms, in: scope) else { continue }
                limit.since = meter?.keepsSince
                switch key {
                case .connections: limit.used = meter?.sessions ?? 0
                case .daily:
                    limit.used = meter?.day.total(at: wall) ?? 0
                    limit.opens = terms.daily.flatMap { most in meter?.dayOpens(most, at: now, wall) }?.time(now)
                case .rate: limit.opens = terms.rate.flatMap { meter?.opens($0, .rate, at: now) }
                case .newConnections:
                    limit.opens = terms.newConnections.flatMap { meter?.opens($0, .newConnections, at: now) }
                case .warmup:
                    let warmth = meter?.warmth ?? WarmthCount()
                    guard let warmup = terms.warmup, warmth.most(warmup, at: wall) != nil else { continue }
                    limit.used = warmth.used(at: wall)
                    limit.opens = warmth.opens(warmup, at: wall)
                        .map { now.adding(milliseconds: $0.milliseconds(since: wall)) }
                case .otherSource:
                    limit.opens = terms.avoidedUntil.flatMap { end in
                        end > wall ? now.adding(milliseconds: end.milliseconds(since: wall)) : nil
                    }
                case .perConnection, .recipients, .per, .overflow: break
                }
                standing.limits.append(limit)
            }
        }
        standing.limits.choose()
        return standing
    }

    /// Forgets what a scope has used of its limits: its rate and its day begin anew, its sessions are counted still.
    ///
    /// - Returns: false when nothing was counted there.
    package mutating func resetUse(of scope: LimitScope, at now: Uptime) -> Bool {
        let wasSaved = book.saved.removeValue(forKey: scope) != nil
        guard let meter = book.known(scope) else { return wasSaved }
        (book.meters[meter].rate, book.meters[meter].connects, book.meters[meter].day) = (Pace(), Pace(), WindowCount())
        book.meters[meter].warmth = WarmthCount()
        poolBook.forget()
        if book.meters[meter].part?.rule.daily != nil {
            book.meters[meter].part?.forgetDay()
            shareBook.resets.insert(scope)
        }
        book.wake(meter, at: now)
        return true
    }

    /// What counts for a lane.
    ///
    /// - Parameter hosts: where it leads, where that is known better than here.
    package func scopes(of lane: Lane, hosts: [String]? = nil) -> [LimitScope] {
        let known = hosts ?? laneIndex[lane].map { lanes[$0].hosts } ?? []
        return book.scopes(of: lane, hosts: known)
    }

    /// What counts for mail, and not for its lane.
    package func scopes(of envelope: Envelope, to recipients: [EmailAddress], in lane: Lane) -> [LimitScope] {
        var scopes = LimitScope.scopes(
            ofMailFrom: envelope.sender,
            user: envelope.user,
            tag: envelope.notes.tag,
            in: lane
        )
        guard !lane.hasOneDomain else { return scopes }
        for recipient in recipients {
            let scope = LimitScope.domain(recipient.domain.name)
            if !scopes.contains(scope), book.isAsked(scope) { scopes.append(scope) }
        }
        return scopes
    }

    /// How many parcels leave before one that waits; nil: too many to count.
    package func position(of ticket: Ticket) -> Int? {
        var left = 10_000
        var place = 0
        let first: Ticket
        switch tickets[ticket].place {
        case .ready: first = lanes[tickets[ticket].lane].first
        case .parked: first = book.meters[book.tickets[ticket].parkedAt].first
        case .free, .waiting, .inFlight, .held: return nil
        }
        var other = first
        while other != ticket {
            guard left > 0, other != .null else { return nil }
            left -= 1
            place += 1
            other = tickets[other].next
        }
        return place
    }

    /// The breaker of a lane.
    package func breaker(of lane: Lane) -> LaneBreaker? {
        guard let number = laneIndex[lane] else { return nil }
        let state = lanes[number]
        let isOpen = state.restsUntil != nil
        return LaneBreaker(
            state: isOpen ? .open : state.rests > 0 ? .probing : .closed,
            rests: state.rests,
            since: state.rests > 0 ? state.restsSince : nil,
            nextProbe: state.restsUntil,
            said: state.rests > 0 ? state.trouble : ""
        )
    }

    /// Forgets that a lane could not be reached, and what it was turned away for: it is tried as one that nobody knows.
    ///
    /// Pauses and limits stay.
    package mutating func reset(_ lane: Lane) -> Bool {
        guard let number = laneIndex[lane] else { return false }
        lanes[number].rests = 0
        lanes[number].restsUntil = nil
        lanes[number].probesUntil = nil
        lanes[number].mayProbe = nil
        lanes[number].restsSince = nil
        lanes[number].trouble = ""
        lanes[number].window = LaneState.firstWindow
        lanes[number].ceiling = Int.max
        lanes[number].refusals = 0
        refresh(number)
        return true
    }
}

extension Meter {
    /// When one more event of a rate may come here; nil: now.
    fileprivate func opens(_ rate: Rate, _ limit: SharedLimit, at now: Uptime) -> Uptime? {
        guard let own = own(rate, limit) else { return Closed.open.time(now) }
        return (limit == .rate ? self.rate : connects).opens(own, at: now)
    }
}

extension Closed {
    /// What others have of a limit is asked for again within a second.
    fileprivate func time(_ now: Uptime) -> Uptime {
        if case .until(let end) = self { end } else { now.adding(milliseconds: 1_000) }
    }
}
