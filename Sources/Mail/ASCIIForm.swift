// ASCIIForm.swift — internationalised host names in the form that the DNS knows: `bücher.example` is `xn--bcher-kva.example`.
//
// IDNA2008 with the mapping of UTS #46, non-transitional, as browsers do it. The only importer of libidn2.

import CIDN2

/// Host names as A-labels: ``Domain`` asks for them and checks the rest.
enum ASCIIForm {
    /// The name as the DNS knows it, in lower case.
    ///
    /// - Returns: nil when some label is not allowed, or too long in that form; empty labels may pass.
    /// - Source: RFC 5891 §5, UTS #46 §4
    static func of(_ name: String) -> String? {
        guard !name.utf8.contains(0) else { return nil }
        let flags = CInt(IDN2_NFC_INPUT.rawValue | IDN2_NONTRANSITIONAL.rawValue)
        var found: UnsafeMutablePointer<CChar>?
        let code = name.withCString { idn2_to_ascii_8z($0, &found, flags) }
        defer { if let found { idn2_free(found) } }
        guard code == 0, let found else { return nil }
        return String(cString: found)
    }
}
