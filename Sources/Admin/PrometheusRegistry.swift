// PrometheusRegistry.swift — the swift-metrics backend: counters, gauges and histograms in memory, shown as Prometheus text.
//
// Recording costs an atomic addition, or a short lock for histograms. Names and label values are those of the code, so
// their number is bounded; what a peer sends never becomes one.

package import CoreMetrics
import Synchronization

/// Every metric of the process.
package final class PrometheusRegistry: MetricsFactory, Sendable {
    /// Upper bounds of histograms, in seconds: from a local disk's sync to a day's delay.
    static let bounds: [Double] = [
        0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 3600, 14_400, 86_400,
    ]

    private enum Cell: Sendable {
        case counter(CounterCell)
        case gauge(GaugeCell)
        case histogram(HistogramCell)

        var type: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    /// Series by name and labels.
    private let cells = Mutex<[String: [String: Cell]]>([:])

    package init() {}

    /// All series as text.
    ///
    /// - Source: Prometheus text exposition format 0.0.4
    package func write(to page: inout MetricsPage) {
        let all = cells.withLock { $0 }
        for (name, series) in all.sorted(by: { $0.key < $1.key }) {
            guard let type = series.first?.value.type else { continue }
            page.family(name, type)
            for (labels, cell) in series.sorted(by: { $0.key < $1.key }) {
                switch cell {
                case .counter(let cell): page.sample(name, labels, "\(cell.value)")
                case .gauge(let cell): page.sample(name, labels, MetricsPage.number(cell.value))
                case .histogram(let cell): cell.write(name, labels, to: &page)
                }
            }
        }
    }

    // MARK: - swift-metrics

    /// The counter of that name and those labels; the same one each time.
    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        let made = cell(label, dimensions) { .counter(CounterCell()) }
        if case .counter(let cell) = made { return cell }
        return CounterCell()
    }

    /// The gauge of that name and those labels; the same one each time.
    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        let made = cell(label, dimensions) { .gauge(GaugeCell()) }
        if case .gauge(let cell) = made { return cell }
        return GaugeCell()
    }

    /// The histogram, or the gauge, of that name and those labels; the same one each time.
    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        guard aggregate else {
            let made = cell(label, dimensions) { .gauge(GaugeCell()) }
            if case .gauge(let cell) = made { return cell }
            return GaugeCell()
        }
        let made = cell(label, dimensions) { .histogram(HistogramCell()) }
        if case .histogram(let cell) = made { return cell }
        return HistogramCell()
    }

    /// The histogram of that name and those labels, in seconds; the same one each time.
    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let made = cell(label, dimensions) { .histogram(HistogramCell()) }
        if case .histogram(let cell) = made { return cell }
        return HistogramCell()
    }

    // Series live as long as the process: each name is spelled once in the code.
    /// Keeps it.
    package func destroyCounter(_ handler: any CounterHandler) {}
    /// Keeps it.
    package func destroyMeter(_ handler: any MeterHandler) {}
    /// Keeps it.
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    /// Keeps it.
    package func destroyTimer(_ handler: any TimerHandler) {}

    private func cell(_ name: String, _ dimensions: [(String, String)], _ make: () -> Cell) -> Cell {
        let labels = MetricsPage.labels(dimensions)
        return cells.withLock { cells in
            if let known = cells[name]?[labels] { return known }
            let made = make()
            cells[name, default: [:]][labels] = made
            return made
        }
    }
}

// MARK: - Cells

private final class CounterCell: CounterHandler {
    private let count = Atomic<Int64>(0)

    var value: Int64 { count.load(ordering: .relaxed) }

    func increment(by amount: Int64) { count.add(amount, ordering: .relaxed) }
    func reset() { count.store(0, ordering: .relaxed) }
}

private final class GaugeCell: MeterHandler, RecorderHandler {
    private let bits = Mutex<Double>(0)

    var value: Double { bits.withLock { $0 } }

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { bits.withLock { $0 = value } }
    func increment(by amount: Double) { bits.withLock { $0 += amount } }
    func decrement(by amount: Double) { bits.withLock { $0 -= amount } }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }
}

private final class HistogramCell: RecorderHandler, TimerHandler {
    private struct Value {
        var counts = [Int](repeating: 0, count: PrometheusRegistry.bounds.count + 1)
        var sum = 0.0
    }

    private let value = Mutex(Value())

    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        let index = PrometheusRegistry.bounds.firstIndex { value <= $0 } ?? PrometheusRegistry.bounds.count
        self.value.withLock {
            $0.counts[index] += 1
            $0.sum += value
        }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    func write(_ name: String, _ labels: String, to page: inout MetricsPage) {
        let value = value.withLock { $0 }
        let prefix = labels.isEmpty ? "" : "\(labels),"
        var count = 0
        for (index, bound) in PrometheusRegistry.bounds.enumerated() {
            count += value.counts[index]
            page.sample("\(name)_bucket", "\(prefix)le=\"\(MetricsPage.number(bound))\"", "\(count)")
        }
        count += value.counts[PrometheusRegistry.bounds.count]
        page.sample("\(name)_bucket", "\(prefix)le=\"+Inf\"", "\(count)")
        page.sample("\(name)_sum", labels, MetricsPage.number(value.sum))
        page.sample("\(name)_count", labels, "\(count)")
    }
}
