/** `ok(equal<Expected>()(value))` compiles if and only if the value's type is `Expected`, exactly. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

export declare const equal: <A>() => <B>(value: B) => Equal<A, B> extends true ? void : { expected: A; actual: B }

export declare const ok: (_: void) => void
