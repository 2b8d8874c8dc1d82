/**
 * Owns how a test takes one object away.
 * Invariant: all others of its kind answer as ever.
 */

/** Objects of a kind, of which one answers nothing. */
export function without(all: DurableObjectNamespace, name: string): DurableObjectNamespace {
  const get: typeof all.get = (id, options) => {
    if (id.name === name) throw new Error("broken on purpose");
    return all.get(id, options);
  };
  return new Proxy(all, {
    get: (target, property) => (property === "get" ? get : Reflect.get(target, property).bind(target)),
  });
}
