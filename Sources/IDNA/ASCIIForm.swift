// ASCIIForm.swift — internationalised host names in the form that the DNS knows: `bücher.example` is `xn--bcher-kva.example`.
//
// IDNA2008 with the mapping of UTS #46, non-transitional, as browsers do it. The only importer of libidn2.

import CIDN2

/// Host names as A-labels.
package enum ASCIIForm {
    /// The name as the DNS knows it, in lower case.
    ///
    /// - Returns: nil when some label is not allowed, or too long in that form.
    /// - Source: RFC 5891 §5, UTS #46 §4
    package static func of(_ name: String) -> String? {
        guard !name.utf8.contains(0) else { return nil }
        let flags = CInt(IDN2_NFC_INPUT.rawValue | IDN2_NONTRANSITIONAL.rawValue)
        var found: UnsafeMutablePointer<CChar>?
        let code = name.withCString { idn2_to_ascii_8z($0, &found, flags) }
        defer { if let found { idn2_free(found) } }
        guard code == 0, let found else { return nil }
        let text = String(cString: found)
        // The library lets empty labels pass.
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return text.utf8.count > 253 || labels.contains(where: \.isEmpty) ? nil : text
    }
}
