// Small parts that all screens are made of.

import { X } from "lucide-react";
import { useEffect, useId, useRef, useState, type ButtonHTMLAttributes, type ReactNode } from "react";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: "plain" | "accent" | "danger" | "quiet";
  wide?: boolean;
}

export function Button({ look = "plain", wide = false, className = "", ...rest }: ButtonProps) {
  return <button type="button" className={`button button-${look} ${wide ? "button-wide" : ""} ${className}`} {...rest} />;
}

interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  label: string;
  /** With its key, as "Microphone off (m)". */
  hint?: string;
  icon: ReactNode;
  look?: "bar" | "small" | "off" | "on" | "leave";
  badge?: number;
}

export function IconButton({ label, hint, icon, look = "bar", badge = 0, className = "", ...rest }: IconButtonProps) {
  return (
    <button type="button" className={`icon-button icon-button-${look} ${className}`} aria-label={label} data-hint={hint ?? label} {...rest}>
      {icon}
      {badge > 0 && <span className="badge" aria-hidden="true">{badge > 99 ? "99+" : badge}</span>}
    </button>
  );
}

interface MenuProps {
  label: string;
  icon: ReactNode;
  look?: IconButtonProps["look"];
  className?: string;
  hint?: string;
  children: (close: () => void) => ReactNode;
}

/** A button with a box of choices over it, which ends with Escape, a press elsewhere, or a choice. */
export function Menu({ label, icon, look = "bar", className = "", hint, children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  useEffect(() => {
    if (!open) return;
    const elsewhere = (event: PointerEvent): void => {
      if (event.target instanceof Node && root.current?.contains(event.target) === false) setOpen(false);
    };
    document.addEventListener("pointerdown", elsewhere);
    root.current?.querySelector<HTMLElement>(".menu-box button, .menu-box select, .menu-box input")?.focus();
    const opener = button.current;
    return () => {
      document.removeEventListener("pointerdown", elsewhere);
      if (document.activeElement === document.body) opener?.focus(); // the choice that had the focus has gone
    };
  }, [open]);
  const close = (): void => setOpen(false);
  return (
    <div
      className={`menu ${className}`}
      ref={root}
      onKeyDown={(event) => {
        if (event.key === "Escape" && open) {
          event.stopPropagation();
          close();
        }
      }}
    >
      <button
        ref={button}
        type="button"
        className={`icon-button icon-button-${look}`}
        aria-label={label}
        data-hint={hint ?? label}
        aria-expanded={open}
        aria-controls={id}
        onClick={() => setOpen(!open)}
      >
        {icon}
      </button>
      {open && (
        <div className="menu-box" id={id} role="group" aria-label={label}>
          {children(close)}
        </div>
      )}
    </div>
  );
}

interface MenuItemProps {
  icon?: ReactNode;
  children: ReactNode;
  onClick: () => void;
  danger?: boolean;
  checked?: boolean;
}

export function MenuItem({ icon, children, onClick, danger = false, checked }: MenuItemProps) {
  return (
    <button type="button" className={`menu-item ${danger ? "menu-item-danger" : ""}`} onClick={onClick} aria-pressed={checked}>
      <span className="menu-icon" aria-hidden="true">{icon}</span>
      <span className="menu-text">{children}</span>
    </button>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
  wide?: boolean;
}

export function Dialog({ title, onClose, children, wide = false }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog?.open === false) dialog.showModal();
  }, []);
  return (
    <dialog
      ref={ref}
      className={`dialog ${wide ? "dialog-wide" : ""}`}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div className="dialog-inner">
        <header className="panel-head">
          <h2 id={id}>{title}</h2>
          <IconButton label="Close" look="small" icon={<X />} onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

interface SelectProps<T extends string> {
  label: string;
  value: T;
  choices: readonly { value: T; label: string }[];
  onChange: (value: T) => void;
  icon?: ReactNode;
  disabled?: boolean;
}

export function Select<T extends string>({ label, value, choices, onChange, icon, disabled = false }: SelectProps<T>) {
  return (
    <label className="field">
      <span className="field-label">{label}</span>
      <span className="select">
        {icon !== undefined && <span className="select-icon" aria-hidden="true">{icon}</span>}
        <select value={value} disabled={disabled} onChange={(event) => onChange(event.target.value as T)}>
          {choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.label}
            </option>
          ))}
        </select>
      </span>
    </label>
  );
}

interface SwitchProps {
  label: string;
  text?: string;
  on: boolean;
  onChange: (on: boolean) => void;
}

export function Switch({ label, text, on, onChange }: SwitchProps) {
  return (
    <label className="switch-row">
      <span>
        <span className="switch-label">{label}</span>
        {text !== undefined && <span className="switch-text">{text}</span>}
      </span>
      <input type="checkbox" role="switch" className="switch" checked={on} onChange={(event) => onChange(event.target.checked)} />
    </label>
  );
}

/** Five bars that grow with the voice. */
export function LevelBars({ level }: { level: number }) {
  const lit = level >= 60 ? 0 : Math.min(5, Math.ceil((60 - level) / 8));
  return (
    <span className="level" aria-hidden="true">
      {[1, 2, 3, 4, 5].map((bar) => (
        <span key={bar} className={bar <= lit ? "level-bar level-bar-lit" : "level-bar"} />
      ))}
    </span>
  );
}

export function Mark() {
  return (
    <span className="mark">
      <img src="/icon.svg" alt="" width="28" height="28" />
      Orchard
    </span>
  );
}
