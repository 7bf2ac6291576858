import { Shuffle } from "lucide-react";
import { useState } from "react";

import type { Meeting } from "../call/meeting";
import { sharedOut, shuffled } from "../room/breakout";
import { PLACES } from "../room/messages";
import type { RoomView } from "../room/view";
import { Button, Dialog, Switch } from "./parts";

interface Props {
  meeting: Meeting;
  view: RoomView;
  onClose: () => void;
}

const STAYS = -1;

/** A host opens breakout rooms, says who goes where, and calls all back. */
export function BreakoutSheet({ meeting, view, onClose }: Props) {
  const others = [...view.members.values()].filter(({ id }) => id !== view.you);
  const ids = others.map(({ id }) => id);
  const open = view.room.places.length > 0;
  const [count, setCount] = useState(open ? view.room.places.length : Math.max(2, Math.ceil(others.length / 4)));
  const [choose, setChoose] = useState(view.room.choose);
  const [assigned, setAssigned] = useState<Record<string, number>>(() =>
    open ? Object.fromEntries(others.map(({ id, place }) => [id, view.room.places.findIndex((one) => one.id === place)])) : sharedOut(ids, count),
  );
  const names = Array.from({ length: count }, (_, index) => view.room.places[index]?.name ?? `Room ${index + 1}`);
  const changeCount = (next: number): void => {
    setCount(next);
    setAssigned(sharedOut(ids, next));
  };
  const start = async (): Promise<void> => {
    const going = Object.fromEntries(ids.flatMap((id) => ((assigned[id] ?? STAYS) >= 0 ? [[id, assigned[id] ?? 0]] : [])));
    if (await meeting.ask({ type: "split", names, assigned: going, choose })) onClose();
  };
  return (
    <Dialog title="Breakout rooms" onClose={onClose}>
      <div className="sheet">
        <label className="field">
          <span className="field-label">Rooms</span>
          <input
            id="breakout-count"
            className="input"
            type="number"
            min={1}
            max={PLACES}
            value={count}
            onChange={(event) => changeCount(Math.min(PLACES, Math.max(1, Number(event.target.value) || 1)))}
          />
        </label>
        {others.length === 0 && <p className="muted">Nobody else is here yet.</p>}
        {others.map(({ id, name }) => (
          <label className="switch-row" key={id}>
            <span className="person-name">{name}</span>
            <span className="select">
              <select
                aria-label={`Room of ${name}`}
                value={assigned[id] ?? STAYS}
                onChange={(event) => setAssigned({ ...assigned, [id]: Number(event.target.value) })}
              >
                <option value={STAYS}>Main room</option>
                {names.map((room, index) => (
                  <option key={index} value={index}>
                    {room}
                  </option>
                ))}
              </select>
            </span>
          </label>
        ))}
        <Switch label="People choose for themselves" text="Everybody may go from room to room." on={choose} onChange={setChoose} />
        <div className="panel-actions">
          <Button look="accent" id="breakout-open" onClick={() => void start()}>
            {open ? "Open anew" : "Open the rooms"}
          </Button>
          <Button onClick={() => setAssigned(sharedOut(shuffled(ids, Math.random), count))}>
            <Shuffle aria-hidden="true" /> Mix
          </Button>
          {open && (
            <Button
              look="danger"
              id="breakout-recall"
              onClick={() => {
                void meeting.ask({ type: "recall" });
                onClose();
              }}
            >
              Call all back
            </Button>
          )}
        </div>
      </div>
    </Dialog>
  );
}
