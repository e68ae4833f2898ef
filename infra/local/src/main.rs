//! The whole service on this machine, selling bread: `make run`.
//!
//! It starts the simulator and the local stack, connects a bakery the way a customer would, plays a morning with all the
//! disorder that vendors are capable of, lets one sync of each connection find what was never announced, and then compares
//! what the tills sold with what we stored and with what the sales domain received, to the cent. With `--once` that
//! comparison is the exit code; without, the shops stay open.

mod demo;
mod measure;

use std::iter::Peekable;
use std::process::ExitCode;

use demo::{Options, Screen};
use measure::load::{Load, Noise};

const USAGE: &str = "\
usage: local [--once] [--calm] [--seed N] [--sales N] [--port N] [--exec COMMAND ...]

       local measure-backfill [--orders N] [--counted N] [--rate N] [--quiet SECONDS]
                              [--page-millis N] [--minutes N]
       local measure-load [--rates N,N...] [--seconds N]
       local measure-noisy [--crowd N] [--rate N] [--quiet SECONDS]
       local measure-sale [--sales N]
       local measure-cost [--accept]

  --once     end after the morning; exit code 1 if the books differ or a sync does not complete
  --calm     vendors that behave: nothing is lost, doubled, late, out of order or refused
  --seed N   another morning (default 7)
  --sales N  sales of the morning (default 40)
  --port N   port of the local AWS (default 4566, or a free one if that is taken)
  --exec C   after the morning, run the command C (the rest of the line) with API_URL, TENANT, CONFIGURATION_ID and
             TOKEN in its environment, and end as it ends

measure-backfill prints what a backfill costs, and what it does to the sales of others
  --orders N         orders of the past (default 50000)
  --counted N        orders whose AWS calls are counted (default 1000)
  --rate N           live sales in a second (default 2)
  --quiet SECONDS    of live sales before the backfill (default 60)
  --page-millis N    that the vendor takes for a page (default 1000)
  --minutes N        that the backfill may take; then it is cancelled (default 12)

measure-load prints how long sales take from the till to the sales domain, at one pace after the other
  --rates N,N...     sales in a second (default 1,2,4)
  --seconds N        of each (default 60)

measure-noisy prints what a crowd at one tenant's does to the sales of another
  --crowd N          sales at once (default 300)
  --rate N           sales in a second of the other (default 1)
  --quiet SECONDS    without a crowd (default 60)

measure-sale prints what a live sale asks of AWS, from the delivery to the sales domain's acceptance
  --sales N          (default 40)

measure-cost counts what is asked of AWS for each thing that we do, and fails above infra/local/budget.json
  --accept           what was counted is the new budget";

/// So many sales are measured.
const MEASURED_SALES: usize = 40;

/// What is wanted.
#[derive(Debug)]
enum Wanted {
    Demo(Options),
    Measure(measure::Options),
    MeasureLoad(Load),
    MeasureNoise(Noise),
    MeasureSale(usize),
    MeasureCost { accepts: bool },
}

fn main() -> ExitCode {
    let mut screen = Screen::new();
    let wanted = match wanted(std::env::args().skip(1).peekable()) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            screen.line(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("failed to start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let work = async {
            match &wanted {
                Wanted::Demo(options) => demo::run(options, &mut screen).await,
                Wanted::Measure(options) => measure::run(options, &mut screen).await.map(|()| true),
                Wanted::MeasureCost { accepts } => measure::budget::run(*accepts, &mut screen).await,
                Wanted::MeasureLoad(load) => measure::load::run(load, &mut screen).await.map(|()| true),
                Wanted::MeasureNoise(noise) => measure::load::run_noisy(noise, &mut screen).await.map(|()| true),
                Wanted::MeasureSale(sales) => measure::sale::run(*sales, &mut screen).await.map(|()| true),
            }
        };
        tokio::select! {
            outcome = work => Some(outcome),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    match outcome {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            screen.line("");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            screen.line("\nclosed");
            // Ended on request, which is no failure unless a verdict was asked for.
            let is_demo = matches!(wanted, Wanted::Demo(Options { once: false, .. }));
            if is_demo { ExitCode::SUCCESS } else { ExitCode::from(130) }
        }
    }
}

/// `None` when only the usage is wanted.
fn wanted(mut arguments: Peekable<impl Iterator<Item = String>>) -> Result<Option<Wanted>, String> {
    let command = arguments.next_if(|first| first.starts_with("measure-"));
    match command.as_deref() {
        None => Ok(options(arguments)?.map(Wanted::Demo)),
        Some(name @ "measure-backfill") => {
            let options = measure::Options::default();
            let read = read(name, options, arguments, |options, name, value| {
                match name {
                    "--orders" => options.orders = number(name, &value()?)?,
                    "--counted" => options.counted = number(name, &value()?)?,
                    "--rate" => options.rate = number(name, &value()?)?,
                    "--quiet" => options.quiet = number(name, &value()?)?,
                    "--page-millis" => options.page_millis = number(name, &value()?)?,
                    "--minutes" => options.minutes = number(name, &value()?)?,
                    _ => return Ok(false),
                }
                Ok(true)
            });
            Ok(read?.map(Wanted::Measure))
        }
        Some(name @ "measure-load") => {
            let read = read(name, Load::default(), arguments, |load, name, value| {
                match name {
                    "--rates" => {
                        load.rates = value()?.split(',').map(|rate| number(name, rate)).collect::<Result<_, _>>()?;
                    }
                    "--seconds" => load.seconds = number(name, &value()?)?,
                    _ => return Ok(false),
                }
                Ok(true)
            });
            Ok(read?.map(Wanted::MeasureLoad))
        }
        Some(name @ "measure-noisy") => {
            let read = read(name, Noise::default(), arguments, |noise, name, value| {
                match name {
                    "--crowd" => noise.crowd = number(name, &value()?)?,
                    "--rate" => noise.rate = number(name, &value()?)?,
                    "--quiet" => noise.quiet = number(name, &value()?)?,
                    _ => return Ok(false),
                }
                Ok(true)
            });
            Ok(read?.map(Wanted::MeasureNoise))
        }
        Some(name @ "measure-sale") => {
            let read = read(name, MEASURED_SALES, arguments, |sales, name, value| {
                let is_known = name == "--sales";
                if is_known {
                    *sales = number(name, &value()?)?;
                }
                Ok(is_known)
            });
            Ok(read?.map(Wanted::MeasureSale))
        }
        Some(name @ "measure-cost") => {
            let read = read(name, false, arguments, |accepts, name, _| {
                *accepts = name == "--accept";
                Ok(*accepts)
            });
            Ok(read?.map(|accepts| Wanted::MeasureCost { accepts }))
        }
        Some(other) => Err(format!("there is no command {other}")),
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    read("local", Options::default(), arguments, |options, name, value| {
        match name {
            "--once" => options.once = true,
            "--calm" => options.calm = true,
            "--seed" => options.seed = number(name, &value()?)?,
            "--sales" => options.sales = number(name, &value()?)?,
            "--exec" => {
                options.command.push(value()?);
                options.command.extend(std::iter::from_fn(|| value().ok()));
            }
            "--port" => options.port = Some(number(name, &value()?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

/// Takes the next argument as an option's value.
type Value<'a> = &'a mut dyn FnMut() -> Result<String, String>;

/// Reads a command's options; `None` when only the usage is wanted. `set`: `false`, the command has no such option.
fn read<T>(
    command: &str,
    mut wanted: T,
    mut arguments: impl Iterator<Item = String>,
    set: impl Fn(&mut T, &str, Value<'_>) -> Result<bool, String>,
) -> Result<Option<T>, String> {
    while let Some(name) = arguments.next() {
        if ["--help", "-h"].contains(&name.as_str()) {
            return Ok(None);
        }
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        if !set(&mut wanted, &name, &mut value)? {
            return Err(format!("{command} has no option {name}"));
        }
    }
    Ok(Some(wanted))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} does not take `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>, String> {
        options(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_mistakes_are_named() {
        let options = parsed("--once --seed 3 --port 0").unwrap().unwrap();
        assert!(options.once && !options.calm);
        assert!(parsed("--calm").unwrap().unwrap().calm);
        assert_eq!((options.seed, options.port), (3, Some(0)));
        let options = parsed("--sales 2 --exec st run --once").unwrap().unwrap();
        assert_eq!((options.command.join(" ").as_str(), options.once), ("st run --once", false));
        assert_eq!(parsed("--exec").unwrap_err(), "--exec needs a value");
        assert!(parsed("--help").unwrap().is_none());
        assert_eq!(parsed("--seed").unwrap_err(), "--seed needs a value");
        assert_eq!(parsed("--port many").unwrap_err(), "--port does not take `many`");
        let measured = wanted(["measure-backfill", "--orders", "9"].map(str::to_owned).into_iter().peekable());
        assert!(matches!(measured, Ok(Some(Wanted::Measure(measure::Options { orders: 9, .. })))));
        let measured = wanted(["measure-sale", "--sales", "9"].map(str::to_owned).into_iter().peekable());
        assert!(matches!(measured, Ok(Some(Wanted::MeasureSale(9)))));
        let measured = wanted(["measure-load", "--rates", "3,9"].map(str::to_owned).into_iter().peekable());
        assert!(matches!(measured, Ok(Some(Wanted::MeasureLoad(load))) if load.rates == [3, 9]));
        let measured = wanted(["measure-noisy", "--crowd", "x"].map(str::to_owned).into_iter().peekable());
        assert_eq!(measured.unwrap_err(), "--crowd does not take `x`");
        let measured = wanted(["measure-cost", "--fast"].map(str::to_owned).into_iter().peekable());
        assert_eq!(measured.unwrap_err(), "measure-cost has no option --fast");
        assert!(wanted(["measure-rain"].map(str::to_owned).into_iter().peekable()).is_err());
        assert_eq!(parsed("--fast").unwrap_err(), "local has no option --fast");
    }
}
