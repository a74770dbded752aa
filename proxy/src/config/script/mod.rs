//! A machine for scripts in Lua: LuaJIT, which Envoy has as well, with the objects of `prelude.lua`.
//!
//! A script runs in turns. A turn ends where the script waits for the proxy, or ends; what the script does meanwhile goes to the
//! [`Host`] of the turn. The machine is an interpreter alone: compiled code cannot be interrupted, and no script may hold a worker
//! for good.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Thread, Value, VmState};

const PRELUDE: &str = include_str!("prelude.lua");
/// After how many instructions a turn is looked at.
const INSTRUCTIONS_BETWEEN_LOOKS: u32 = 10_000;
/// How many instructions a turn may take, which is about a second.
const INSTRUCTIONS_MAX: u32 = 100_000_000;
/// How much memory the objects of a script have.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// A script that was loaded, with its global variables.
pub(crate) struct Machine {
    lua: Lua,
    wait: Table,
    begin: Function,
    finish: Function,
    run: Function,
    looks: Rc<Cell<u32>>,
    streams: Cell<u64>,
}

/// The functions of a script that the proxy calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hook {
    Request,
    Response,
}

/// A function of a script that has begun, or is about to.
pub(crate) struct Run {
    thread: Thread,
    stream: u64,
    /// What the function gets, until it begins.
    begins: Option<Hook>,
}

/// What a turn came to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// The function has ended.
    Ended,
    /// It has failed, for this reason.
    Failed(String),
    /// It waits.
    Waits(WaitsFor),
}

/// What a script waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WaitsFor {
    /// The whole body.
    Body,
    /// The end of a call.
    Call,
    /// Another piece of the body.
    Chunk,
    /// Nothing more: it has responded.
    Nothing,
    /// The end of the message.
    Trailers,
}

/// What answers the operations of the prelude.
pub(crate) trait Host {
    /// The values of an operation.
    ///
    /// # Errors
    /// The script has requested what cannot be done: a text, which stands where the script called.
    fn answer(&mut self, lua: &Lua, operation: &str, arguments: MultiValue) -> Result<MultiValue, String>;
}

impl Hook {
    /// The name of the function.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "envoy_on_request",
            Self::Response => "envoy_on_response",
        }
    }
}

impl Machine {
    /// Loads a script at an instant, in seconds since the epoch.
    ///
    /// # Errors
    /// Why it cannot be loaded, in Lua's words.
    pub(crate) fn load(code: &str, now: f64) -> Result<Self, String> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::default()).map_err(|error| reason(&error))?;
        let (wait, begin, finish, run) = prelude(&lua, now).map_err(|error| reason(&error))?;
        let looks = Rc::new(Cell::new(0));
        watch(&lua, &looks).map_err(|error| reason(&error))?;
        // As in Envoy, a script is named by its first line.
        lua.load(code).set_name(code).exec().map_err(|error| reason(&error))?;
        Ok(Self { lua, wait, begin, finish, run, looks, streams: Cell::new(0) })
    }

    /// Does the script have this function?
    pub(crate) fn has(&self, hook: Hook) -> bool {
        matches!(self.lua.globals().raw_get(hook.name()), Ok(Value::Function(_)))
    }

    /// The function, for a stream.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn start(&self, hook: Hook) -> Result<Run, String> {
        let thread = self.lua.create_thread(self.run.clone()).map_err(|error| reason(&error))?;
        self.streams.set(self.streams.get().wrapping_add(1));
        Ok(Run { thread, stream: self.streams.get(), begins: Some(hook) })
    }

    /// Lets a function run until it waits or ends. `has_piece`, of one that has waited for a piece of the body: there is one.
    pub(crate) fn turn(&self, run: &mut Run, has_piece: bool, host: &mut dyn Host) -> Step {
        self.looks.set(0);
        let resumed = self.lua.scope(|scope| {
            let answer = scope.create_function_mut(|lua, (operation, arguments): (String, MultiValue)| {
                let mut all = MultiValue::new();
                match host.answer(lua, &operation, arguments) {
                    Ok(values) => {
                        all.push_back(Value::Boolean(true));
                        all.extend(values);
                    }
                    Err(why) => {
                        all.push_back(Value::Boolean(false));
                        all.push_back(Value::String(lua.create_string(why)?));
                    }
                }
                Ok(all)
            })?;
            self.begin.call::<()>((answer, run.stream))?;
            let resumed: mlua::Result<MultiValue> = match run.begins.take() {
                Some(hook) => run.thread.resume((hook.name(), run.stream)),
                None => run.thread.resume(has_piece),
            };
            self.finish.call::<()>(())?;
            resumed
        });
        let is_suspended = run.thread.is_resumable();
        match resumed {
            Err(error) => Step::Failed(reason(&error)),
            Ok(values) if is_suspended => self.waits(&values),
            Ok(values) => match (values.front(), values.get(1)) {
                (Some(Value::Boolean(false)), Some(Value::Error(error))) => Step::Failed(reason(error)),
                (Some(Value::Boolean(false)), Some(Value::String(why))) => Step::Failed(why.to_string_lossy()),
                _ => Step::Ended,
            },
        }
    }

    fn waits(&self, yielded: &MultiValue) -> Step {
        let (Some(Value::Table(table)), Some(Value::String(what))) = (yielded.front(), yielded.get(1)) else {
            return unexpected();
        };
        let what = match &*what.as_bytes() {
            _ if *table != self.wait => return unexpected(),
            b"body" => WaitsFor::Body,
            b"call" => WaitsFor::Call,
            b"chunk" => WaitsFor::Chunk,
            b"respond" => WaitsFor::Nothing,
            b"trailers" => WaitsFor::Trailers,
            _ => return unexpected(),
        };
        Step::Waits(what)
    }
}

/// A script has yielded by itself.
fn unexpected() -> Step {
    Step::Failed("script performed an unexpected yield".to_owned())
}

fn prelude(lua: &Lua, now: f64) -> mlua::Result<(Table, Function, Function, Function)> {
    lua.load("if jit then jit.off() end").exec()?;
    lua.load(PRELUDE).set_name("=prelude").call(now)
}

/// Has turns fail that take too long or too much.
fn watch(lua: &Lua, looks: &Rc<Cell<u32>>) -> mlua::Result<()> {
    let looks = Rc::clone(looks);
    let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_BETWEEN_LOOKS);
    lua.set_global_hook(triggers, move |lua, _| {
        looks.set(looks.get() + 1);
        if looks.get() > INSTRUCTIONS_MAX / INSTRUCTIONS_BETWEEN_LOOKS {
            return Err(mlua::Error::RuntimeError("script has run for 100 million instructions without a wait".into()));
        }
        if lua.used_memory() > BYTES_MAX {
            return Err(mlua::Error::RuntimeError("script holds more than 256 MiB".into()));
        }
        Ok(VmState::Continue)
    })
}

/// Lua's words, without the trace of the stack behind them.
fn reason(error: &mlua::Error) -> String {
    if let mlua::Error::CallbackError { cause, .. } = error {
        return reason(cause);
    }
    let text = if let mlua::Error::SyntaxError { message, .. } | mlua::Error::RuntimeError(message) = error {
        message.clone()
    } else {
        error.to_string()
    };
    text.split("\nstack traceback:").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that knows nothing but the names of what it is asked for.
    #[derive(Default)]
    struct Recorded(Vec<String>);

    impl Host for Recorded {
        fn answer(&mut self, lua: &Lua, operation: &str, arguments: MultiValue) -> Result<MultiValue, String> {
            self.0.push(operation.to_owned());
            match operation {
                "begin_body" => Ok([Value::String(lua.create_string("wait").unwrap())].into_iter().collect()),
                "has_body" => Ok([Value::Boolean(true)].into_iter().collect()),
                "length" => Ok([Value::Integer(5)].into_iter().collect()),
                "log" => {
                    let text = arguments.get(1).and_then(|text| text.to_string().ok()).unwrap_or_default();
                    self.0.push(text);
                    Ok(MultiValue::new())
                }
                _ => Err(format!("no {operation} here")),
            }
        }
    }

    fn request(code: &str) -> (Machine, Run) {
        let machine = Machine::load(code, 0.0).unwrap();
        let run = machine.start(Hook::Request).unwrap();
        (machine, run)
    }

    #[test]
    fn a_script_runs_until_it_waits_and_goes_on_from_there() {
        let code = "function envoy_on_request(h)\n local ok, body = pcall(function() return h:body() end)\n \
                    h:logInfo(tostring(body:length()))\nend";
        let (machine, mut run) = request(code);
        let mut host = Recorded::default();
        assert!(machine.has(Hook::Request) && !machine.has(Hook::Response));
        assert_eq!(machine.turn(&mut run, false, &mut host), Step::Waits(WaitsFor::Body));
        assert_eq!(machine.turn(&mut run, false, &mut host), Step::Ended);
        assert_eq!(host.0, ["begin_body", "has_body", "length", "log", "5"]);
    }

    #[test]
    fn errors_stand_where_the_script_called() {
        for (line, expected) in [
            ("h:clearRouteCache()", "[string \"function envoy_on_request(h)...\"]:2: no clear_route here"),
            ("h:foo()", "[string \"function envoy_on_request(h)...\"]:2: attempt to call method 'foo' (a nil value)"),
            (
                "h:base64Escape()",
                "[string \"function envoy_on_request(h)...\"]:2: bad argument #1 to 'base64Escape' (string expected, got nil)",
            ),
            ("error({})", "unspecified lua error"),
            ("coroutine.yield(1)", "script performed an unexpected yield"),
            ("while true do end", "script has run for 100 million instructions without a wait"),
            ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end", "script holds more than 256 MiB"),
        ] {
            let (machine, mut run) = request(&format!("function envoy_on_request(h)\n {line}\nend"));
            let Step::Failed(why) = machine.turn(&mut run, false, &mut Recorded::default()) else {
                panic!("{line} does not fail")
            };
            assert!(why.contains(expected), "{line}: {why}");
        }
    }

    #[test]
    fn an_object_of_another_turn_is_refused() {
        let code = "function envoy_on_request(h)\n local info = h:streamInfo()\n h:body()\n info:protocol()\nend";
        let (machine, mut run) = request(code);
        let mut host = Recorded::default();
        assert_eq!(machine.turn(&mut run, false, &mut host), Step::Waits(WaitsFor::Body));
        let Step::Failed(why) = machine.turn(&mut run, false, &mut host) else { panic!("it does not fail") };
        assert!(why.ends_with(":4: object used outside of proper scope"), "{why}");
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_in_the_words_of_lua() {
        for (code, expected) in [
            (
                "function envoy_on_request(",
                "[string \"function envoy_on_request(\"]:1: <name> or '...' expected near '<eof>'",
            ),
            ("x.y = 1", "[string \"x.y = 1\"]:1: attempt to index global 'x' (a nil value)"),
        ] {
            assert_eq!(Machine::load(code, 0.0).err().as_deref(), Some(expected));
        }
    }

    #[test]
    fn tables_have_one_order_and_the_clock_is_the_hosts() {
        let code = "local t = {}\nfor i = 1, 40 do t['k' .. i] = i end\nt[3] = 0 t[1] = 0\nlocal keys = {}\n\
                    for k in pairs(t) do keys[#keys + 1] = k end\nresult = table.concat(keys, ' ', 1, 5) .. ' ' .. os.time()";
        let machine = Machine::load(code, 1_700_000_000.5).unwrap();
        let result: String = machine.lua.globals().get("result").unwrap();
        assert_eq!(result, "1 3 k1 k10 k11 1700000000");
    }
}
