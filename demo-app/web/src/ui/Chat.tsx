import { SendHorizontal, X } from "lucide-react";
import { useEffect, useRef, useState, type KeyboardEvent, type SyntheticEvent } from "react";

import type { Meeting } from "../call/meeting";
import { TEXT_CHARS, type ChatEntry } from "../room/messages";
import type { RoomView } from "../room/view";
import { linked } from "./names";
import { IconButton } from "./parts";

interface Props {
  meeting: Meeting;
  view: RoomView;
  onClose: () => void;
}

const TOGETHER_S = 120; // lines of one person within that stand under one name

export function Chat({ meeting, view, onClose }: Props) {
  const [text, setText] = useState("");
  const [everyone, setEveryone] = useState(false);
  const end = useRef<HTMLDivElement>(null);
  const host = view.members.get(view.you)?.role === "host";
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" }); // newer browsers return a promise, which is no clean-up
  }, [view.chat]);
  const send = async (): Promise<void> => {
    const line = text.trim();
    if (line === "") return;
    setText("");
    const scope = everyone && host && view.room.places.length > 0 ? "everyone" : "place";
    if (!(await meeting.ask({ type: "say", text: line, scope }))) setText(line);
  };
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    void send();
  };
  const key = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  };
  return (
    <aside className="panel" aria-label="Chat">
      <header className="panel-head">
        <h2>Chat</h2>
        <IconButton label="Close chat" look="small" icon={<X />} onClick={onClose} />
      </header>
      <div className="chat-lines" role="log" aria-live="polite" tabIndex={0} aria-label="Messages">
        {view.chat.length === 0 && <p className="panel-empty">Nobody has written yet. Who joins later reads what was said before.</p>}
        {view.chat.map((entry, index) => (
          <Line key={entry.seq} entry={entry} before={view.chat[index - 1]} own={entry.sender === view.you} />
        ))}
        <div ref={end} />
      </div>
      <form className="chat-form" onSubmit={submit}>
        {host && view.room.places.length > 0 && (
          <label className="chat-scope">
            <input type="checkbox" checked={everyone} onChange={(event) => setEveryone(event.target.checked)} /> To all rooms
          </label>
        )}
        <div className="chat-row">
          <textarea
            id="chat-text"
            className="input"
            rows={1}
            value={text}
            maxLength={TEXT_CHARS}
            aria-label="Message"
            placeholder="Write a message"
            onChange={(event) => setText(event.target.value)}
            onKeyDown={key}
          />
          <button type="submit" className="icon-button icon-button-on" aria-label="Send" disabled={text.trim() === ""}>
            <SendHorizontal />
          </button>
        </div>
      </form>
    </aside>
  );
}

function Line({ entry, before, own }: { entry: ChatEntry; before: ChatEntry | undefined; own: boolean }) {
  const together = before !== undefined && before.sender === entry.sender && before.place === entry.place && entry.at - before.at < TOGETHER_S;
  return (
    <div className={`chat-line ${own ? "chat-own" : ""} ${together ? "chat-together" : ""}`}>
      {!together && (
        <p className="chat-who">
          <strong>{own ? "You" : entry.name}</strong>
          <time>{new Date(entry.at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</time>
          {entry.place === null && <span className="tag">To everyone</span>}
        </p>
      )}
      <p className="chat-text">
        {linked(entry.text).map((piece, index) =>
          piece.href === null ? (
            <span key={index}>{piece.text}</span>
          ) : (
            <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer">
              {piece.text}
            </a>
          ),
        )}
      </p>
    </div>
  );
}
