// Sharing people out to breakout rooms. Pure.

/** Who goes to which of `count` rooms: rooms of as even a size as can be, in the order given. */
export function sharedOut(members: readonly string[], count: number): Record<string, number> {
  return Object.fromEntries(members.map((id, index) => [id, index % Math.max(1, count)]));
}

/** The members in another order, by numbers from 0 to 1. */
export function shuffled(members: readonly string[], random: () => number): string[] {
  const order = [...members];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] ?? "", order[last] ?? ""];
  }
  return order;
}
