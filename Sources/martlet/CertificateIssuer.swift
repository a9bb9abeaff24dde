// CertificateIssuer.swift — one certificate by ACME, from the settings to the files of `tls.ini`.
//
// Guarantees: keys are files of mode 600, written before they are used; what comes is looked at before it takes the place of what is
// there, and is put there atomically. The key of a certificate stays when it is renewed, so that TLSA records of it do, too.

import ACME
import Config
import Files
import Glibc
import HTTPClient
import JSON
import Mail
import OpenSSL
import Process

/// Gets one certificate.
struct CertificateIssuer: Sendable {
    /// Seconds for the program of dns-01.
    private static let patience = 600
    private static let largest = 1 << 20

    let settings: Settings
    let configPath: String
    let dataPath: String
    private let disk = LinuxDisk()

    init(_ settings: Settings, configPath: String, dataPath: String) {
        (self.settings, self.configPath, self.dataPath) = (settings, configPath, dataPath)
    }

    var names: [String] { settings.tls.acme.names(of: settings.me) }

    /// What is remembered of the attempts so far.
    var state: ACMEState {
        (try? disk.contents(of: "\(dataPath)/\(ACMEState.file)", limit: Self.largest)).map { ACMEState($0) }
            ?? ACMEState()
    }

    /// The certificate that is there.
    var current: (life: CertificateLife, digest: String)? {
        let path = place(settings.tls.files.certificateFile)
        guard let pem = try? disk.contents(of: path, limit: Self.largest), let end = CertificateDates.end(of: pem),
            let begin = CertificateDates.begin(of: pem)
        else { return nil }
        return (CertificateLife(begin: begin, end: end), Digest.sha256(pem).hexadecimal)
    }

    /// Gets it, writes it, and remembers what came of it; blocks for minutes.
    ///
    /// - Throws: why there is none.
    func issue(at now: Timestamp) throws(ACMEError) {
        var state = self.state
        do throws(ACMEError) {
            let digest = try fetch()
            state.succeeded(digest, names)
            keep(state)
        } catch {
            state.failed(error.reason, at: Int(now.milliseconds / 1000), retryAfter: error.retryAfter)
            keep(state)
            throw error
        }
    }

    private func keep(_ state: ACMEState) {
        try? disk.makeDirectory("\(dataPath)/acme", permissions: 0o700)
        try? disk.replace("\(dataPath)/\(ACMEState.file)", with: Array(state.json.text.utf8), permissions: 0o600)
    }

    /// Asks the authority when it wants the certificate renewed, where that is due; blocks.
    func learn(at now: Timestamp) {
        var state = self.state
        let seconds = Int(now.milliseconds / 1000)
        guard asksForWindow(state, current, at: seconds), let name = renewalName else { return }
        do throws(ACMEError) {
            let (window, retryAfter) = try client(ChallengeDoor(settings.tls.acme.listen)).window(of: name)
            state.learnt(window, retryAfter: retryAfter, at: seconds)
        } catch {
            // It is renewed by its age then.
            state.learnt(nil, retryAfter: error.retryAfter, at: seconds)
        }
        keep(state)
    }

    /// What the authority calls the certificate that is there; nil for one that is none of its.
    private var renewalName: String? {
        guard let current, state.digest == current.digest,
            let pem = try? disk.contents(of: place(settings.tls.files.certificateFile), limit: Self.largest)
        else { return nil }
        return CertificateNames.issue(of: pem).map { RenewalWindow.name(authority: $0.authority, serial: $0.serial) }
    }

    private func client(_ door: ChallengeDoor) throws(ACMEError) -> ACMEClient {
        let terms = try self.terms()
        let account = try AccountKey(try key("\(dataPath)/acme/account.key", isKept: true).key)
        let client = HTTPClient()
        let world = ACMEWorld(
            send: { request in
                do throws(HTTPError) { return .success(try client.send(request)) } catch { return .failure(error) }
            },
            pause: { sleep(UInt32($0)) }
        )
        return ACMEClient(terms, account, challenger(door), world)
    }

    private func fetch() throws(ACMEError) -> String {
        let client = try client(ChallengeDoor(settings.tls.acme.listen))
        let (key, isNew) = try key(place(settings.tls.files.keyFile), isKept: false)
        let pem = try client.certificate(for: key, replacing: renewalName)
        do {
            let keyText = try key.pem()
            // As a server would use it: the chain can be read, and the key fits.
            _ = try TLSContext(server: TLSContext.Server(certificate: CertificatePair(certificates: pem, key: keyText)))
            if isNew { try disk.replace(place(settings.tls.files.keyFile), with: keyText, permissions: 0o600) }
            try disk.replace(place(settings.tls.files.certificateFile), with: pem, permissions: 0o644)
        } catch {
            throw ACMEError("the certificate that came cannot be used, or written: \(error)")
        }
        return Digest.sha256(pem).hexadecimal
    }

    // MARK: - What it is made of

    private func terms() throws(ACMEError) -> ACMETerms {
        let acme = settings.tls.acme
        guard let directory = acme.directory else { throw ACMEError("acme_directory in tls.ini names no authority") }
        var terms = ACMETerms(directory: directory, names: names)
        terms.challenge = acme.usesDNS ? .dns : .http
        if acme.usesDNS, acme.hook == nil { throw ACMEError("dns-01 needs acme_hook in tls.ini") }
        (terms.contact, terms.agrees, terms.caFile) = (acme.contact, acme.agrees, acme.caFile.map(place))
        if let id = acme.bindingID, let file = acme.bindingFile {
            guard let bytes = try? disk.contents(of: place(file), limit: Self.largest),
                let text = try? GivenText.value(bytes), let key = Base64.urlDecode(text), !key.isEmpty
            else { throw ACMEError("acme_eab_key_file holds no key in base64url") }
            terms.binding = ACMETerms.Binding(id: id, key: key)
        }
        return terms
    }

    /// The key of a file, or a new one.
    ///
    /// - Parameter isKept: a new one is written at once.
    private func key(_ path: String, isKept: Bool) throws(ACMEError) -> (key: SigningKey, isNew: Bool) {
        if let pem = try? disk.contents(of: path, limit: Self.largest), let key = try? SigningKey(pem: pem),
            key.kind == .p256
        {
            return (key, false)
        }
        do {
            let key = try SigningKey.generate(.p256)
            if isKept {
                try disk.makeDirectory("\(dataPath)/acme", permissions: 0o700)
                try disk.replace(path, with: try key.pem(), permissions: 0o600)
            }
            return (key, true)
        } catch {
            throw ACMEError("a key cannot be made: \(error)")
        }
    }

    private func challenger(_ door: ChallengeDoor) -> Challenger {
        guard settings.tls.acme.usesDNS, let hook = settings.tls.acme.hook.map(place) else {
            return Challenger { (_, token, value) throws(ACMEError) in
                try door.open(token, value)
            } close: { _, token, _ in
                door.close(token)
            }
        }
        return Challenger { (name, _, value) throws(ACMEError) in
            let end = ChildProgram.run(hook, ["add", "_acme-challenge.\(name)", value], seconds: Self.patience)
            guard end == .exited(0) else { throw ACMEError("\(hook) add _acme-challenge.\(name): \(end)") }
        } close: { name, _, value in
            _ = ChildProgram.run(hook, ["remove", "_acme-challenge.\(name)", value], seconds: Self.patience)
        }
    }

    private func place(_ file: String) -> String {
        file.starts(withOctets: "/") ? file : "\(configPath)/\(file)"
    }
}
