//! The `corelane` program.

fn main() -> std::process::ExitCode {
    corelane::cli::main()
}
