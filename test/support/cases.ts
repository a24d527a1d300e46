/**
 * How many cases a property test of a pure function tries: `CAPSTAN_CASES` (CI sets 100000, the campaign more), else 2000, so that
 * `npm test` stays a matter of minutes on a laptop.
 */
export const pureCases = Number(process.env["CAPSTAN_CASES"] ?? 2_000);

/** For properties whose single case costs milliseconds (a database, a process): a hundredth of the pure ones, at least 20. */
export const slowCases = Math.max(20, Math.round(pureCases / 100));
