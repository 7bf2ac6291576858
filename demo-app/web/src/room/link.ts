// What an invite's link holds. It stands in the fragment, so no server and no log sees it.

export interface Invite {
  room: string;
  key: string | null;
  /** For end-to-end encryption; never leaves the page. */
  passphrase: string | null;
}

const ROOM = /^[a-z2-7]{16}$/;
const KEY = /^[A-Za-z0-9._-]{1,1024}$/;

/** The invite of a location's `hash`, or null where it holds none. */
export function readInvite(hash: string): Invite | null {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const room = fields.get("room") ?? "";
  const key = fields.get("key") ?? "";
  if (!ROOM.test(room)) return null;
  return { room, key: KEY.test(key) ? key : null, passphrase: fields.get("secret") || null };
}

/** The fragment of an invite, with its `#`. */
export function inviteHash(invite: Invite): string {
  const fields = new URLSearchParams({ room: invite.room });
  if (invite.key !== null) fields.set("key", invite.key);
  if (invite.passphrase !== null) fields.set("secret", invite.passphrase);
  return `#${fields.toString()}`;
}

/** The invite in what somebody pasted: a whole link, or its fragment. Null where there is none. */
export function readPasted(text: string): Invite | null {
  const at = text.indexOf("#");
  return at < 0 ? null : readInvite(text.slice(at).trim());
}
