/** Reads hand-written documents. Collects all faults, each with its path, and reports them together. */

const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The faults of a document. */
export class Faults extends Error {
  readonly all: string[] = [];

  constructor() {
    super();
    this.name = 'Faults';
  }

  add(place: string, fault: string): void {
    this.all.push(`${place === '' ? 'the document' : place}: ${fault}`);
    this.message = this.all.join('\n');
  }

  throwIfAny(): void {
    if (this.all.length > 0) throw this;
  }
}

/**
 * Reads one map of a document. A missing or invalid field is recorded as a fault and replaced by a valid
 * placeholder, so that reading continues.
 */
export class Reader {
  private readonly fields: Record<string, unknown>;
  private readonly known = new Set<string>();
  private readonly isMap: boolean;

  constructor(
    value: unknown,
    private readonly place: string,
    private readonly faults: Faults,
  ) {
    this.isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    this.fields = this.isMap ? (value as Record<string, unknown>) : {};
    if (!this.isMap) faults.add(place, 'must be a map');
  }

  fault(field: string, fault: string): void {
    this.faults.add(this.at(field), fault);
  }

  text(field: string, form?: RegExp): string {
    const value = this.take(field);
    if (value === undefined) return '';
    if (typeof value !== 'string' || value.trim() === '') {
      this.fault(field, 'must be a non-empty string');
      return '';
    }
    if (form !== undefined && !form.test(value))
      this.fault(field, `${value} does not match ${form.source}`);
    return value;
  }

  number(field: string, bounds: { above: number; whole?: boolean }): number {
    const value = this.take(field);
    if (value === undefined) return bounds.above + 1;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      this.fault(field, 'must be a number');
      return bounds.above + 1;
    }
    if (value <= bounds.above) this.fault(field, `must be above ${bounds.above}`);
    if (bounds.whole === true && !Number.isInteger(value))
      this.fault(field, 'must be a whole number');
    return value;
  }

  /** A duration such as `5m` or `100ms`, in seconds. */
  duration(field: string): number {
    const value = this.take(field);
    if (value === undefined) return 60;
    const found = typeof value === 'string' ? /^(\d+)(ms|s|m|h|d)$/.exec(value) : null;
    const amount = Number(found?.[1] ?? 0);
    if (found === null || amount === 0) {
      this.fault(field, 'must be a duration such as 100ms, 5m or 3d');
      return 60;
    }
    return (amount * MILLISECONDS[found[2] as keyof typeof MILLISECONDS]) / 1_000;
  }

  /** A share such as `99.9%`, as a fraction between 0 and 1, both excluded. */
  share(field: string): number {
    const value = this.take(field);
    if (value === undefined) return 0.5;
    const found = typeof value === 'string' ? /^(\d+(?:\.\d+)?)%$/.exec(value) : null;
    const share = Math.round(Number(found?.[1] ?? 0) * 1e7) / 1e9;
    if (found === null || share <= 0 || share >= 1) {
      this.fault(field, 'must be a share above 0% and below 100%');
      return 0.5;
    }
    return share;
  }

  oneOf<T extends string>(field: string, values: readonly T[]): T {
    const value = this.take(field);
    if (values.includes(value as T)) return value as T;
    if (value !== undefined) this.fault(field, `must be one of ${values.join(', ')}`);
    return values[0] as T;
  }

  map(field: string): Reader {
    const value = this.take(field);
    return value === undefined
      ? new Reader({}, this.at(field), new Faults())
      : new Reader(value, this.at(field), this.faults);
  }

  list(field: string): Reader[] {
    const value = this.take(field);
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.length === 0) {
      this.fault(field, 'must be a non-empty list');
      return [];
    }
    return value.map((item, at) => new Reader(item, `${this.at(field)}[${at}]`, this.faults));
  }

  /** Whether the field exists. */
  has(field: string): boolean {
    return this.fields[field] !== undefined;
  }

  holds(field: string, value: unknown): boolean {
    return this.fields[field] === value;
  }

  /** Records every unread field as a fault: most are misspelt. */
  rejectUnknownFields(): void {
    for (const field of Object.keys(this.fields)) {
      if (!this.known.has(field)) this.fault(field, 'is unknown');
    }
  }

  private take(field: string): unknown {
    this.known.add(field);
    const value = this.fields[field];
    // A value that is not a map already has its own fault.
    if ((value === undefined || value === null) && this.isMap) this.fault(field, 'is missing');
    return value ?? undefined;
  }

  private at(field: string): string {
    return this.place === '' ? field : `${this.place}.${field}`;
  }
}
