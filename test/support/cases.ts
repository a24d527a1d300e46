/**
 * How many cases a property test of a pure function tries: `CAPSTAN_CASES` (CI sets 100000, the campaign more), else 2000, so that
 * `npm test` stays a matter of minutes on a laptop.
 */
export const pureCases = Number(process.env["CAPSTAN_CASES"] ?? 2_000);

/** A fifth of that, for pure functions that guard nothing and take long: sums, times, budgets, lists of tools. */
export const plainCases = pureCases / 5;

/**
 * For properties whose single case costs milliseconds (a database) or seconds (a process): `CAPSTAN_SLOW_CASES`, which only the
 * campaign raises, else 20.
 */
export const slowCases = Number(process.env["CAPSTAN_SLOW_CASES"] ?? 20);

/**
 * How long fuzzers try in all, in milliseconds: `CAPSTAN_FUZZ_MS` (CI sets 60000), else 3 s, which the campaign makes more together with
 * the slow cases.
 */
export const fuzzMs = Number(process.env["CAPSTAN_FUZZ_MS"] ?? 150 * slowCases);

/** At how many points the reference run is killed: `CAPSTAN_CRASH_POINTS` (CI and the campaign: all of its hundred), else 10. */
export const crashPoints = Number(process.env["CAPSTAN_CRASH_POINTS"] ?? 10);
